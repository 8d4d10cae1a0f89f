"""Physical memory, scheduler, watchdog, log, panic."""
