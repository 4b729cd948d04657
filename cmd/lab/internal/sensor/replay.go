package sensor

import (
	"context"
	"fmt"
	"io"

	verdicts "offpath/detect/jsonl"
)

// Comparison is of the lines of verdicts that a live run wrote with those that
// its recording gives.
type Comparison struct {
	Live, Replayed int
	Difference     string // the first; "" if there is none
}

// Replay runs `offpath replay` over a recording with the configuration and the
// hash key of the live run, which is over, and compares what the engine decided:
// every line, in its order, with its content. What an operator ordered is in no
// recording, and neither is what load balancers count: where the tap does not show
// refusals (blind), renewals are left out.
func (c Config) Replay(ctx context.Context, recording string, blind bool) (*Comparison, error) {
	const replayed = "replay-verdicts.jsonl"
	if _, err := c.run(ctx, "replay", "--verdicts", c.path(replayed), "--hash-key", "file:"+c.path("hash.key"), recording); err != nil {
		return nil, err
	}
	a, err := c.decisions("verdicts.jsonl", blind)
	if err != nil {
		return nil, err
	}
	b, err := c.decisions(replayed, blind)
	if err != nil {
		return nil, err
	}
	return compare(a, b), nil
}

// decisions are the lines that an engine wrote: those with a finding behind them.
func (c Config) decisions(name string, first bool) (list []string, err error) {
	seen := map[string]bool{}
	err = c.each(name, func(r io.Reader) error {
		lines := verdicts.NewReader(r)
		for lines.Next() {
			if v := lines.Verdict(); len(v.Findings) > 0 && !(first && seen[v.ID]) {
				seen[v.ID] = true
				list = append(list, string(verdicts.AppendVerdict(nil, v)))
			}
		}
		return lines.Err()
	})
	return list, err
}

func compare(live, replayed []string) *Comparison {
	c := &Comparison{Live: len(live), Replayed: len(replayed)}
	for i := range max(len(live), len(replayed)) {
		switch {
		case i >= len(live):
			c.Difference = fmt.Sprintf("line %d is only in the recording: %s", i+1, replayed[i])
		case i >= len(replayed):
			c.Difference = fmt.Sprintf("line %d is only in the live run: %s", i+1, live[i])
		case live[i] != replayed[i]:
			c.Difference = fmt.Sprintf("line %d is %s in the live run and %s from the recording", i+1, live[i], replayed[i])
		default:
			continue
		}
		return c
	}
	return c
}
