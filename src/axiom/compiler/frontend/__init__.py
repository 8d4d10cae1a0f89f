"""From Python syntax trees to the typed IR: names, compile-time evaluation, types, specialisation."""
