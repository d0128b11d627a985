package main

// version of Gantry, by SemVer.
const version = "0.1.0"
