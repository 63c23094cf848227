"""Small servers to read and to start from; each is run by a test the way its opening says."""
