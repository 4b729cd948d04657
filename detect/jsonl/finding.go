package jsonl

import (
	"encoding/json"
	"errors"

	"offpath/detect"
)

// foundRecord is a finding's line.
type foundRecord struct {
	Timestamp string `json:"@timestamp"`
	Event     struct {
		ID       string `json:"id"`
		Kind     string `json:"kind"`
		Severity int    `json:"severity"`
	} `json:"event"`
	Rule struct {
		Name string `json:"name"`
	} `json:"rule"`
	Threat struct {
		Technique struct {
			Name string `json:"name"`
		} `json:"technique"`
	} `json:"threat"`
	Offpath struct {
		Subject subject `json:"subject"`
		Window  struct {
			Start string `json:"start"`
			End   string `json:"end"`
		} `json:"window"`
		Evidence struct {
			Statistic float64 `json:"statistic"`
			Baseline  float64 `json:"baseline"`
			Threshold float64 `json:"threshold"`
			Terms     []struct {
				Name  string  `json:"name"`
				Value float64 `json:"value"`
			} `json:"terms"`
			Events []string `json:"events"`
		} `json:"evidence"`
		Campaign *struct {
			ID          string `json:"id"`
			State       string `json:"state"`
			Attempts    int    `json:"attempts"`
			Accounts    int    `json:"accounts"`
			AccountsHit int    `json:"accounts_hit"`
			Addresses   int    `json:"addresses"`
		} `json:"campaign"`
	} `json:"offpath"`
	Message string `json:"message"`
}

// ParseFinding reads one line, with or without its line feed.
func ParseFinding(line []byte) (*detect.Finding, error) {
	var in foundRecord
	if err := json.Unmarshal(line, &in); err != nil {
		return nil, err
	}
	o := &in.Offpath
	if in.Event.ID == "" || in.Event.Kind == "" {
		return nil, errors.New("no finding: event.id or event.kind is missing")
	}
	f := &detect.Finding{
		ID: wire(in.Event.ID), Kind: wire(in.Event.Kind), Severity: in.Event.Severity, Rule: wire(in.Rule.Name),
		Technique: wire(in.Threat.Technique.Name), Message: wire(in.Message),
		Evidence: detect.Evidence{Statistic: o.Evidence.Statistic, Baseline: o.Evidence.Baseline, Threshold: o.Evidence.Threshold},
	}
	for _, t := range o.Evidence.Terms {
		f.Evidence.Terms = append(f.Evidence.Terms, detect.Term{Name: wire(t.Name), Value: t.Value})
	}
	for _, id := range o.Evidence.Events {
		f.Evidence.Events = append(f.Evidence.Events, wire(id))
	}
	if c := o.Campaign; c != nil {
		f.Campaign = &detect.Campaign{
			ID: wire(c.ID), State: wire(c.State), Attempts: c.Attempts,
			Accounts: c.Accounts, AccountsHit: c.AccountsHit, Addresses: c.Addresses,
		}
	}
	var err error
	for _, t := range []struct {
		name, text string
		to         *int64
	}{
		{"@timestamp", in.Timestamp, &f.Time}, {"offpath.window.start", o.Window.Start, &f.WindowStart}, {"offpath.window.end", o.Window.End, &f.WindowEnd},
	} {
		if *t.to, err = parseTime(t.name, t.text); err != nil {
			return nil, err
		}
	}
	if f.Subject, err = o.Subject.parse(); err != nil {
		return nil, err
	}
	return f, nil
}
