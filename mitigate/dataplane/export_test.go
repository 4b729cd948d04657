package dataplane

// Line is an entry of a map as it is written.
type Line = line

// Padded are the lines that are written to have these replace a map of texts.
func Padded(lines []Line) []Line { return padded(lines, padText) }

// IsPad says that a line is there for its length alone.
func IsPad(key string) bool { return isPad(key) }
