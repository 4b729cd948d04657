//go:build !race

package engine

// raceDetector says that the tests run with the race detector.
const raceDetector = false
