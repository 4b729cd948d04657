package haproxy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// setupTable is a table of the configuration that [Setup] prints, whose name ends in the
// version: raised when rules or script change in what they do with what is written here.
const setupTable = "offpath_setup_4"

// Prepared implements [mitigate.Target]: the version, the tables and the maps, by their
// paths. Whether the rules stand in a frontend, HAProxy does not tell.
func (t *Target) Prepared(ctx context.Context) error {
	tables, err := t.client.ask(ctx, "show", "table")
	if err != nil {
		return err
	}
	kinds := make(map[string]string)
	for line := range strings.Lines(tables) {
		if head, ok := parseTableHead(strings.TrimSuffix(line, "\n")); ok {
			kinds[head.name] = head.kind
		}
	}
	if kinds[verdictTable] != "" && kinds[setupTable] == "" {
		return fmt.Errorf("%w: what it has is of another version, without a table %s", ErrNotPrepared, setupTable)
	}
	for _, name := range []string{verdictTable, hitTable, "offpath_rate_1s", "offpath_rate_10s", "offpath_rate_60s"} {
		switch kind, there := kinds[name]; {
		case !there:
			return fmt.Errorf("%w: no table %s", ErrNotPrepared, name)
		case kind != "string":
			return fmt.Errorf("%w: table %s has keys of type %s", ErrNotPrepared, name, kind)
		}
	}

	if t.options.Deceives && kinds[deceptionTable] == "" {
		return fmt.Errorf("%w: no table %s, so it has no rules that deceive", ErrNotPrepared, deceptionTable)
	}
	if name := sessionTable(t.options.SessionKey); name != "" && kinds[name] == "" {
		return fmt.Errorf("%w: no table %s, so its script does not know sessions, or by another key", ErrNotPrepared, name)
	}

	text, err := t.client.ask(ctx, "show", "map")
	if err != nil {
		return err
	}
	maps := parseMaps(text)
	for _, name := range []string{networkMap, allowMap, allowLiveMap} {
		path := t.options.MapDir + "/" + name
		if slices.Contains(maps, path) {
			continue
		}
		for _, other := range maps {
			if strings.HasSuffix(other, "/"+name) {
				return fmt.Errorf("%w: no map %s, but %s: map_dir is to be the folder that is meant there", ErrNotPrepared, path, other)
			}
		}
		return fmt.Errorf("%w: no map %s", ErrNotPrepared, path)
	}
	return nil
}

// sessionTable is the name of the table by which the configuration tells that its script
// has a key, by four octets of the key's hash; "" without a key.
func sessionTable(key []byte) string {
	if len(key) == 0 {
		return ""
	}
	sum := sha256.Sum256(key)
	return "offpath_sessions_" + hex.EncodeToString(sum[:4])
}

// parseMaps reads the paths of `show map`: lines of "id (path) description".
func parseMaps(text string) (paths []string) {
	for line := range strings.Lines(text) {
		_, rest, open := strings.Cut(line, " (")
		path, _, closed := strings.Cut(rest, ") ")
		if open && closed && !strings.HasPrefix(line, "#") {
			paths = append(paths, path)
		}
	}
	return paths
}
