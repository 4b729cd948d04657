package config

// Detect holds the thresholds of detection.
type Detect struct{}

func defaultDetect() Detect { return Detect{} }

func (l *loader) checkDetect() error { return nil }
