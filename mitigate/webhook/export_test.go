package webhook

import "time"

// Hasten makes a target repeat messages, and try again, sooner, for tests.
func (t *Target) Hasten(factor int) *Target {
	t.repetitions = nil
	for _, wait := range repetitions {
		t.repetitions = append(t.repetitions, wait/time.Duration(factor))
	}
	t.firstPause /= time.Duration(factor)
	return t
}
