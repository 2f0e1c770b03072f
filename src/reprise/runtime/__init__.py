"""What a process is set up with: threads, memory, the device."""
