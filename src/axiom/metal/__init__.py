"""Everything that the compiler compiles; imports nothing but lang, abi and itself."""
