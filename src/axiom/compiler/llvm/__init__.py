"""From typed IR to machine code through LLVM's textual IR. The only room that imports llvmlite."""
