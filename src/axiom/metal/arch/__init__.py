"""x86-64: instructions, entry, descriptor tables, page-table format."""
