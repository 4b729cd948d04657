package webhook

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"time"

	"offpath/detect"
	"offpath/detect/jsonl"
	"offpath/mitigate"
)

// The types of messages.
const (
	typePing     = "ping"     // asks whether the receiver is there
	typeVerdicts = "verdicts" // verdicts that are in force, or no longer
	typeSnapshot = "snapshot" // what was sent since is all there is
	typeMode     = "mode"     // what to do with verdicts
	typeAllow    = "allow"    // networks that are never acted against
)

// What became of a verdict, and why.
const (
	eventActive = "active"
	eventEnded  = "ended"

	reasonNew      = "new"
	reasonChanged  = "changed" // other action, rate, mode or subject
	reasonRenewed  = "renewed" // a later expiry alone
	reasonSnapshot = "snapshot"
	reasonLifted   = "lifted" // before its time
	reasonExpired  = "expired"
	reasonReplaced = "replaced" // by another verdict on the same subject
)

// The most that is in a message of verdicts.
const (
	maxEvents = 500
	maxBody   = 512 << 10 // octets, but for one verdict that is larger alone
)

// message is the body of a request.
type message struct {
	Type      string `json:"type"`
	Timestamp string `json:"timestamp"`
	Data      data   `json:"data"`
}

type data struct {
	Source   string         `json:"source"`
	Sequence uint64         `json:"sequence"`
	Mode     detect.Mode    `json:"mode,omitempty"`
	Release  bool           `json:"release,omitempty"`
	Events   []event        `json:"events,omitempty"`
	Since    uint64         `json:"since,omitempty"`
	Count    *int           `json:"count,omitempty"`
	Networks []netip.Prefix `json:"networks,omitzero"`
}

// event is what became of one verdict.
type event struct {
	Event    string          `json:"event"`
	Reason   string          `json:"reason"`
	Sequence uint64          `json:"sequence"`
	Verdict  json.RawMessage `json:"verdict"`

	entry mitigate.Entry
	why   detect.Verdict // as it was looked up; without an ID if it was not found
}

func (m *message) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(m)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// verdictOf is an entry as the contract's verdict. What orders, is the entry's; what
// explains, that of the verdict behind it, where it is known.
func verdictOf(e *mitigate.Entry, why detect.Verdict, now time.Time) json.RawMessage {
	v := why
	v.ID, v.Action, v.Subject, v.Rate = e.ID.String(), e.Action, e.Subject, e.Rate
	v.Expires = e.Expires * int64(time.Second)
	v.Mode = detect.ModeEnforce
	if e.Monitor {
		v.Mode = detect.ModeMonitor
	}
	if v.Time == 0 {
		v.Time = now.UnixNano()
	}
	return bytes.TrimSuffix(jsonl.AppendVerdict(nil, &v), []byte("\n"))
}

// batches cuts events into messages' worth.
func batches(events []event) (cut [][]event) {
	size := 0
	for i, begin := 0, 0; i < len(events); i++ {
		size += len(events[i].Verdict) + 128
		if i == len(events)-1 || i+1-begin == maxEvents || size+len(events[i+1].Verdict) > maxBody {
			cut, begin, size = append(cut, events[begin:i+1]), i+1, 0
		}
	}
	return cut
}
