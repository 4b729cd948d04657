//go:build race

package main_test

// raceDetector says that the tests run with the race detector: then so does
// the program under test.
const raceDetector = true
