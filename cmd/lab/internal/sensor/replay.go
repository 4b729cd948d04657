package sensor

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
)

// Replay runs `offpath replay` over a recording with the configuration and the
// hash key of the live run, and returns the ids of the verdicts it makes.
func (c Config) Replay(ctx context.Context, recording string) (ids map[string]bool, err error) {
	path := c.path("replay-verdicts.jsonl")
	if _, err := c.run(ctx, "replay", "--verdicts", path, "--hash-key", "file:"+c.path("hash.key"), recording); err != nil {
		return nil, err
	}
	return readIDs(path)
}

// readIDs returns the event.id of every line of a JSON Lines file.
func readIDs(path string) (map[string]bool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		ids[l.Event.ID] = true
	}
	return ids, lines.Err()
}
