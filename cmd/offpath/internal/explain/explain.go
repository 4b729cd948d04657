// Package explain says why there is a finding or verdict: what was decided,
// against whom, by what numbers, at what price, and what became of it.
//
// What there is comes from a running offpath (cmd/offpath/internal/api) or from
// files that a replay wrote ([FromFiles]), as one [api.Explanation], which
// [Write] puts into words for a person. The words for what detection means are
// those of detect/plain. The package keeps no state.
package explain

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"

	"offpath/capture"
	"offpath/cmd/offpath/internal/api"
	"offpath/cmd/offpath/internal/evidence"
	"offpath/detect/jsonl"
)

// Of is what was found about an id. Its Kind is "" if that is nothing.
func Of(id string, found *evidence.Account) *api.Explanation {
	e := &api.Explanation{
		ID: id, Verdict: found.Verdict, Decided: found.First, Lines: found.Lines,
		Findings: found.Findings, Verdicts: found.Verdicts, More: found.More,
	}
	switch {
	case found.Verdict != nil:
		e.Kind = "verdict"
	case len(found.Findings) > 0:
		e.Kind = "finding"
	}
	if e.Findings == nil {
		e.Findings = []json.RawMessage{}
	}
	return e
}

// FromFiles gathers what files of lines say about an id. Damage is reported as
// *capture.DamageError, beside what could be read; several errors are joined.
func FromFiles(id string, paths ...string) (*api.Explanation, error) {
	var sources []evidence.Source
	for _, path := range paths {
		sources = append(sources, evidence.File(path))
	}
	found, err := evidence.Find(id, sources...)
	if e := Of(id, found); e.Kind != "" {
		return e, err
	}
	return nil, errors.Join(err, api.ErrUnknownID)
}

// AddTransactions looks up, in a file of transactions, those that the findings
// name. Damage is reported as by [FromFiles].
func AddTransactions(e *api.Explanation, path string) error {
	wanted := map[string]int{}
	for _, line := range e.Findings {
		f, err := jsonl.ParseFinding(line)
		if err != nil {
			continue // Write says so
		}
		for _, id := range f.Evidence.Events {
			if _, known := wanted[id]; !known {
				wanted[id] = len(wanted)
			}
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	found := make([]json.RawMessage, len(wanted))
	left := len(wanted)
	err := evidence.File(path)(func(line []byte, _ int64) error {
		at, ok := wanted[transactionID(line)]
		if ok && found[at] == nil {
			if !json.Valid(line) {
				return errNoLine
			}
			found[at] = bytes.Clone(line)
			if left--; left == 0 {
				return fs.SkipAll
			}
		}
		return nil
	})
	for _, line := range found {
		if line != nil {
			e.Transactions = append(e.Transactions, line)
		}
	}
	return err
}

var errNoLine = errors.New("a transaction's line is no valid JSON")

// transactionID is the event.id of a transaction's line: of one as offpath
// writes it at a known place, of another by parsing.
func transactionID(line []byte) string {
	const before = `,"event":{"id":"`
	if at := bytes.Index(line[:min(len(line), 128)], []byte(before)); at >= 0 {
		rest := line[at+len(before):]
		if end := bytes.IndexByte(rest, '"'); end >= 0 {
			return string(rest[:end])
		}
	}
	var tx struct {
		Event struct{ ID string }
	}
	if json.Unmarshal(line, &tx) != nil {
		return ""
	}
	return tx.Event.ID
}

// Damage takes apart what was damaged and what else went wrong.
func Damage(err error) (damage []*capture.DamageError, rest error) {
	var errs []error
	var flatten func(error)
	flatten = func(err error) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, each := range joined.Unwrap() {
				flatten(each)
			}
			return
		}
		errs = append(errs, err)
	}
	if err != nil {
		flatten(err)
	}
	errs = slices.DeleteFunc(errs, func(err error) bool {
		var d *capture.DamageError
		if errors.As(err, &d) {
			damage = append(damage, d)
			return true
		}
		return false
	})
	return damage, errors.Join(errs...)
}
