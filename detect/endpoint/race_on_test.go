//go:build race

package endpoint

// raceDetector says that the tests run with the race detector.
const raceDetector = true
