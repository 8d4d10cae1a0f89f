"""What all tests share: no example of a property fails for taking long, which on a busy machine any may."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
