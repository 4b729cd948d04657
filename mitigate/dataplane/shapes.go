package dataplane

import (
	"strconv"
	"strings"
)

// shapesKey is the line of the verdicts that tells the script which shapes of predicates
// there are, so that it looks for no others.
const shapesKey = "shapes"

// shapes are the shapes in force: a bit for each, and until when any is.
type shapes struct {
	set     uint64
	expires int64 // s since the epoch
}

// and are both together.
func (s shapes) and(other shapes) shapes {
	return shapes{s.set | other.set, max(s.expires, other.expires)}
}

func (s shapes) line() line {
	return line{shapesKey, strconv.FormatUint(s.set, 16) + ":" + strconv.FormatInt(s.expires, 10)}
}

// parseShapes reads the value of the line; what is none says that there are no shapes.
func parseShapes(value string) shapes {
	set, expires, _ := strings.Cut(value, ":")
	var s shapes
	var err error
	if s.set, err = strconv.ParseUint(set, 16, 64); err != nil {
		return shapes{}
	}
	if s.expires, err = strconv.ParseInt(expires, 10, 64); err != nil || s.expires < 0 {
		return shapes{}
	}
	return s
}
