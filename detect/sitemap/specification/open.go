package specification

import (
	"io"
	"os"
)

// Open reads the description in a file. The error is an *Error where the mistake is
// in what it says.
func Open(path string) (*Spec, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	return Parse(path, text)
}
