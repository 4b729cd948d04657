package nginx

import (
	"fmt"
	"strconv"
	"strings"

	"offpath/mitigate"
)

// maxReason bounds the reason of a refusal, octets.
const maxReason = 200

// status is what the endpoint says of itself.
type status struct {
	start    string  // id of this life of the dictionaries
	version  string  // of nginx
	clock    float64 // its own, seconds since the epoch
	setup    int     // version of the script
	shards   int
	mode     int
	off      bool // by a person there
	readable bool // the script can read header fields
	// faults are the script's errors, each of which let a request through, and the rows
	// that had to make room, since this life began.
	faults uint64
}

func parseStatus(text string) (s status, err error) {
	numbers := map[string]float64{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch name {
		case "start":
			s.start = value
		case "software":
			s.version = version(value)
		default:
			n, err := strconv.ParseFloat(value, 64)
			if err != nil || n < 0 || n > 1e12 || n != n {
				return s, fmt.Errorf("nginx says %.40q of its %.20q", value, name)
			}
			numbers[name] = n
		}
	}
	for _, name := range []string{"clock", "setup", "shards", "mode", "off", "readable"} {
		if _, there := numbers[name]; !there {
			return s, fmt.Errorf("nginx says nothing of its %s", name)
		}
	}
	s.clock, s.setup, s.shards, s.mode = numbers["clock"], int(numbers["setup"]), int(numbers["shards"]), int(numbers["mode"])
	s.faults = uint64(numbers["errors"] + numbers["evicted"])
	s.off, s.readable = numbers["off"] != 0, numbers["readable"] != 0
	if len(s.start) != 16 || !isHex(s.start) {
		return s, fmt.Errorf("nginx says %.40q of its start", s.start)
	}
	return s, nil
}

// version makes 1.22.1 of 1022001/10023; "" of what is none.
func version(software string) string {
	number, _, _ := strings.Cut(software, "/")
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", n/1_000_000, n/1000%1000, n%1000)
}

// refusal is the answer to one line of an apply.
type refusal struct {
	line   int
	reason string
}

// parseApplied reads the answer to n lines.
func parseApplied(text string, n int) (refusals []refusal, err error) {
	read := -1
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		number, reason, _ := strings.Cut(rest, " ")
		i, err := strconv.Atoi(number)
		switch {
		case word == "read" && err == nil && i >= 0 && read < 0:
			read = i
		case word == "refused" && err == nil && 0 <= i && i < n && len(refusals) < n:
			refusals = append(refusals, refusal{i, strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "?")})
		default:
			return nil, fmt.Errorf("nginx answers %.80q to orders", line)
		}
	}
	if read != n {
		return nil, fmt.Errorf("%w: of %d orders it read %d", mitigate.ErrIncomplete, n, read)
	}
	return refusals, nil
}

// parseRows reads the rows of a dictionary.
func parseRows(text string) (map[string]string, error) {
	rows := make(map[string]string, strings.Count(text, "\n"))
	for line := range strings.Lines(text) {
		key, row, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !isKey(key) || !isRow(row) {
			return nil, fmt.Errorf("nginx lists %.80q, which is no row", line)
		}
		rows[key] = row
	}
	return rows, nil
}

// parseHits reads the counters; what is none is left out.
func parseHits(text string) []mitigate.Hits {
	at := make(map[mitigate.ID]int)
	var hits []mitigate.Hits
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if key == "" {
			continue
		}
		id, err := mitigate.ParseID(key[1:])
		n, numberErr := strconv.ParseUint(value, 10, 53)
		if err != nil || numberErr != nil || key[0] != 'r' && key[0] != 'p' {
			continue
		}
		i, there := at[id]
		if !there {
			i = len(hits)
			at[id] = i
			hits = append(hits, mitigate.Hits{ID: id})
		}
		if key[0] == 'r' {
			hits[i].Refused = n
		} else {
			hits[i].Passed = n
		}
	}
	return hits
}
