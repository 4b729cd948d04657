// Package labelled writes scenarios of the detection benchmark to files and reads
// labelled captures, its own and other people's, to be judged.
//
// A capture is two files in a folder: NAME.jsonl, transactions as the sensor
// writes them (or NAME.pcap, NAME.pcapng: packets), and NAME.labels.jsonl, a line
// for a request:
//
//	{"event.id":"0123456789abcdef","label":"attack","login":true,"right":true}
//
// label is attack or legitimate; login says that the request tried a password,
// right that it was the right one, transfer that the request moves money. A line
// may also have "hit":true, which for an attack's login is the same as right. What
// has no line is legitimate. Where no line of a file says login, logins are what
// the detector takes for them; where a login's line does not say right, nothing is
// made of its outcome.
//
// Written transactions lack network.community_id, and packets lack what TLS
// would show.
//
// Reading holds all labels in memory, some 100 octets each. A Source belongs to
// one goroutine; of packets, another reads.
package labelled

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"offpath/cmd/lab/internal/traffic"
)

// Ends of the names of files.
const (
	labelsEnd = ".labels.jsonl"
	linesEnd  = ".jsonl"
)

// Labels that a line may have.
const (
	attack     = "attack"
	legitimate = "legitimate"
)

// line is a line of labels.
type line struct {
	Event string `json:"event.id"`
	Label string `json:"label"`
	Login bool   `json:"login,omitempty"`
	Right *bool  `json:"right,omitempty"`
	Hit   *bool  `json:"hit,omitempty"`
	Money bool   `json:"transfer,omitempty"`
}

func lineOf(event string, t traffic.Truth) line {
	l := line{Event: event, Label: legitimate, Login: t.Login, Money: t.Transfer}
	if t.Attack {
		l.Label = attack
	}
	if t.Login && !t.Down {
		l.Right = &t.Right
	}
	if t.Hit() {
		l.Hit = &t.Right
	}
	return l
}

// truth is what a line says.
func (l *line) truth() (traffic.Truth, error) {
	t := traffic.Truth{Attack: l.Label == attack, Login: l.Login, Transfer: l.Money}
	if l.Label != attack && l.Label != legitimate {
		return t, fmt.Errorf("label %q: must be %s or %s", l.Label, attack, legitimate)
	}
	right := l.Right
	if right == nil {
		right = l.Hit
	}
	t.Down = right == nil
	t.Right = right != nil && *right
	return t, nil
}

// labels are those of a capture.
type labels struct {
	of     map[string]traffic.Truth
	logins bool // some say which requests are logins
	attack bool // some are of an attack
}

func readLabels(path string) (*labels, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all := &labels{of: make(map[string]traffic.Truth)}
	d := json.NewDecoder(bufio.NewReaderSize(f, 256<<10))
	for n := 1; ; n++ {
		var l line
		if err := d.Decode(&l); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: label %d: %w", path, n, err)
		}
		t, err := l.truth()
		if err == nil && l.Event == "" {
			err = errors.New("no event.id")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: label %d: %w", path, n, err)
		}
		all.of[l.Event] = t
		all.logins = all.logins || t.Login
		all.attack = all.attack || t.Attack
	}
}
