package pcapfile

import "errors"

// What is wrong with an input as a whole. Errors of Open and Run wrap them and
// name the input.
var (
	// ErrNotCapture: the content is no pcap or pcapng, compressed or not.
	ErrNotCapture = errors.New("not a capture (neither pcap nor pcapng)")
	// ErrEmpty: the file is there and has no content.
	ErrEmpty = errors.New("the file is empty")
	// ErrNoCaptures: none of a folder's files is a capture.
	ErrNoCaptures = errors.New("the folder holds no captures")
)

// Reasons for damage.
var (
	errCutShort = errors.New("the file ends inside a record")
	errTime     = errors.New("packet time before 1970 or after 2262")
)
