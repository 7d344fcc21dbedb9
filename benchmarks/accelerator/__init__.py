"""One command for somebody with ten minutes of an accelerator."""
