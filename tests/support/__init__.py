"""What tests use: a server with one switch per fault, processes, a simulated power cut."""
