package haproxy

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"offpath/mitigate"
)

// answer is what HAProxy said to one command.
type answer struct {
	// severity is the syslog level of the message, 0 to 7; -1 if the answer
	// has none. Orders that succeed say nothing, so any level is a refusal of
	// an order; a dump has no level.
	severity int
	text     string // without the level; lines separated by \n
}

// refused says whether the answer to an order is anything but silence.
func (a answer) refused() bool { return a.text != "" || a.severity >= 0 }

// splitAnswers divides what a session returned into the answers to its n
// commands. Each answer ends with an empty line. With fewer than n the error is
// [mitigate.ErrIncomplete], and the answers are those that came whole.
func splitAnswers(session []byte, n int) ([]answer, error) {
	answers := make([]answer, 0, n)
	for len(session) > 0 && len(answers) < n {
		var text []byte
		if session[0] == '\n' {
			session = session[1:]
		} else {
			end := bytes.Index(session, []byte("\n\n"))
			if end < 0 {
				break
			}
			text, session = session[:end], session[end+2:]
		}
		answers = append(answers, newAnswer(text))
	}
	switch {
	case len(answers) < n:
		return answers, fmt.Errorf("%d answers to %d commands: %w", len(answers), n, mitigate.ErrIncomplete)
	case len(session) > 0:
		return answers, fmt.Errorf("octets after the last answer: %.40q", session)
	}
	return answers, nil
}

// newAnswer reads the level of `set severity-output number`: "[3]: text".
func newAnswer(text []byte) answer {
	if len(text) >= 4 && text[0] == '[' && '0' <= text[1] && text[1] <= '7' && text[2] == ']' && text[3] == ':' {
		return answer{int(text[1] - '0'), strings.TrimSpace(string(text[4:]))}
	}
	return answer{-1, string(text)}
}

// info is `show info`: lines of "Name: value".
func parseInfo(text string) map[string]string {
	fields := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); ok {
			fields[name] = value
		}
	}
	return fields
}

// parseBufsize finds the size of HAProxy's buffers in `show pools`:
// "  - Pool buffer (16384 bytes) : …". It is 0 if there is none.
func parseBufsize(text string) int {
	_, rest, _ := strings.Cut(text, "Pool buffer (")
	size, _, ok := strings.Cut(rest, " bytes)")
	n, err := strconv.Atoi(size)
	if !ok || err != nil || n < 0 {
		return 0
	}
	return n
}

// tableHead is the first line of `show table NAME`:
// "# table: NAME, type: string, size:1048576, used:2".
type tableHead struct {
	name       string
	kind       string
	size, used int
}

func parseTableHead(line string) (h tableHead, ok bool) {
	rest, ok := strings.CutPrefix(line, "# table: ")
	if !ok {
		return h, false
	}
	h.name, rest, _ = strings.Cut(rest, ", ")
	for part := range strings.SplitSeq(rest, ", ") {
		name, value, _ := strings.Cut(part, ":")
		var err error
		switch name {
		case "type":
			h.kind = strings.TrimSpace(value)
		case "size":
			h.size, err = strconv.Atoi(value)
		case "used":
			h.used, err = strconv.Atoi(value)
		}
		if err != nil || h.size < 0 || h.used < 0 {
			return h, false
		}
	}
	return h, h.name != "" && h.kind != ""
}

// tableRow is one row of a dump: "0x55ad: key=ip:192.0.2.1 use=0 exp=2073599996
// gpt0=1 gpc0=4294967295 …".
type tableRow struct {
	key  string
	data map[string]uint64 // by data type; those with a period in brackets without it
}

func parseTableRow(line string) (tableRow, bool) {
	_, rest, ok := strings.Cut(line, ": key=")
	if !ok {
		return tableRow{}, false
	}
	// A key may hold anything, the fields after it may not: they are found
	// from the right.
	end := strings.LastIndex(rest, " use=")
	if end < 0 {
		return tableRow{}, false
	}
	row := tableRow{key: rest[:end], data: make(map[string]uint64, 8)}
	for field := range strings.FieldsSeq(rest[end:]) {
		name, value, ok := strings.Cut(field, "=")
		if !ok {
			return tableRow{}, false
		}
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return tableRow{}, false
		}
		name, _, _ = strings.Cut(name, "(")
		row.data[name] = n
	}
	return row, true
}

// parseMapLine reads a line of `show map`: "0x55ad 192.0.2.0/24 value".
func parseMapLine(line string) (key, value string, ok bool) {
	_, rest, ok := strings.Cut(line, " ")
	if !ok {
		return "", "", false
	}
	key, value, ok = strings.Cut(rest, " ")
	return key, value, ok && key != "" && value != ""
}
