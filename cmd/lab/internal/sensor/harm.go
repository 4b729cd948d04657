package sensor

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"

	"offpath/detect"
	verdicts "offpath/detect/jsonl"
	"offpath/reassembly"
	transactions "offpath/reassembly/jsonl"
)

// Harm lists the verdicts without a client address that touch a customer, by
// what the stopped sensor wrote: a predicate that a customer's request matches,
// and a hold of an account whose password no attacker has got right.
func (c Config) Harm(attacker func(netip.Addr) bool) ([]string, error) {
	predicates, holds, err := c.decided()
	if err != nil {
		return nil, err
	}
	opened := map[string]bool{}
	harmed := map[string]bool{}
	err = c.each("transactions.jsonl", func(r io.Reader) error {
		lines := transactions.NewReader(r)
		for lines.Next() {
			tx := lines.Transaction()
			if attacker(tx.Client) {
				if tx.Annotation.EventOutcome == "success" {
					opened[tx.Auth.UserHash] = true
				}
				continue
			}
			for id, s := range predicates {
				if matches(s, tx) {
					harmed[id] = true
				}
			}
		}
		return lines.Err()
	})
	if err != nil {
		return nil, err
	}
	var list []string
	for id := range harmed {
		list = append(list, fmt.Sprintf("%s on %+v", id, predicates[id]))
	}
	for id, account := range holds {
		if !opened[account] {
			list = append(list, id+" on account "+account)
		}
	}
	slices.Sort(list)
	return list, nil
}

// decided reads the verdicts without a client address, by id.
func (c Config) decided() (predicates map[string]detect.Subject, holds map[string]string, err error) {
	predicates, holds = map[string]detect.Subject{}, map[string]string{}
	err = c.each("verdicts.jsonl", func(r io.Reader) error {
		lines := verdicts.NewReader(r)
		for lines.Next() {
			switch v := lines.Verdict(); {
			case v.Subject.Client.IsValid():
			case v.Action == detect.ActionHold:
				holds[v.ID] = v.Subject.UserHash
			default:
				predicates[v.ID] = v.Subject
			}
		}
		return lines.Err()
	})
	return predicates, holds, err
}

func (c Config) each(name string, read func(io.Reader) error) error {
	f, err := os.Open(c.path(name))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := read(f); err != nil {
		return fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return nil
}

func matches(s detect.Subject, tx *reassembly.Transaction) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	return is(s.Fingerprint, tx.Fingerprint) && is(s.UserAgent, tx.Request.UserAgent) && is(s.JA4, tx.JA4) &&
		is(s.Endpoint, tx.Annotation.Endpoint) && is(s.Domain, tx.Request.Domain)
}
