"""What stands beside a measurement: the counters of energy, as Linux lays them out."""

from pathlib import Path

import pytest

from axiom.host.bench.facts import EnergyMeter, energy_counters, machine_facts


def zone(folder: Path, number: str, name: str, microjoules: int, largest: int = 999_999) -> Path:
    made = folder / f"intel-rapl:{number}"
    made.mkdir()
    (made / "name").write_text(f"{name}\n")
    (made / "max_energy_range_uj").write_text(f"{largest}\n")
    (made / "energy_uj").write_text(f"{microjoules}\n")
    return made / "energy_uj"


def test_packages_are_added_up_and_neither_their_parts_nor_the_platform(tmp_path: Path) -> None:
    first, second = zone(tmp_path, "0", "package-0", 1000), zone(tmp_path, "1", "package-1", 5000)
    part, platform = zone(tmp_path, "0:0", "core", 100), zone(tmp_path, "2", "psys", 100)
    meter = EnergyMeter(tmp_path)
    first.write_text("2000\n")
    second.write_text("9000\n")
    part.write_text("90000\n")
    platform.write_text("90000\n")
    assert meter.joules() == 5e-3


def test_a_counter_that_begins_again_is_followed(tmp_path: Path) -> None:
    counter = zone(tmp_path, "0", "package-0", 999_900)
    meter = EnergyMeter(tmp_path)
    counter.write_text("100\n")
    assert meter.joules() == pytest.approx(200e-6)


def test_each_counter_begins_again_by_itself(tmp_path: Path) -> None:
    first = zone(tmp_path, "0", "package-0", 999_999)
    second = zone(tmp_path, "1", "package-1", 7, largest=9)
    meter = EnergyMeter(tmp_path)
    first.write_text("999999\n")
    second.write_text("2\n")
    assert meter.joules() == pytest.approx(5e-6)


def test_where_nothing_counts_nothing_is_told(tmp_path: Path) -> None:
    assert energy_counters(tmp_path / "none") == []
    assert EnergyMeter(tmp_path).joules() is None


def test_a_counter_that_cannot_be_read_does_not_count(tmp_path: Path) -> None:
    zone(tmp_path, "0", "package-0", 1).unlink()
    zone(tmp_path, "1", "package-1", 5)
    (counter,) = energy_counters(tmp_path)
    assert (counter.read(), counter.largest) == (5, 999_999)


def test_the_machine_is_named() -> None:
    facts = machine_facts()
    assert facts["processor"]
    assert facts["cpus"] >= 1
    assert facts["energy_counted"] == bool(energy_counters())
