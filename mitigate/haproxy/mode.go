package haproxy

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"offpath/detect"
	"offpath/mitigate"
)

// SetMode implements [mitigate.Target]: one row, so the kill switch is one
// short command. A row that is there can always be overwritten, also in a full
// table; one that is not means off.
func (t *Target) SetMode(ctx context.Context, mode detect.Mode, release bool) error {
	var code int
	switch mode {
	case detect.ModeOff:
		code = modeOff
	case detect.ModeMonitor:
		code = modeMonitor
	case detect.ModeEnforce:
		code = modeEnforce
	default:
		return fmt.Errorf("unknown mode %q", mode)
	}
	set := fmt.Sprintf("set table %s key %s data.gpt0 %d data.gpc0 %d", verdictTable, modeKey, code, uint32(never))
	commands := []string{set}
	if release {
		commands = append(commands, fmt.Sprintf("clear table %s key %s", verdictTable, offKey))
	}
	answers, err := t.client.run(ctx, commands, "")
	if err != nil {
		return err
	}
	for _, a := range answers {
		if a.refused() {
			return prepared(&mitigate.RejectedError{
				Target:     t.options.Name,
				Rejections: []mitigate.Rejection{{Answer: firstLine(a.text)}},
			})
		}
	}
	return nil
}

// renewOff is how long before its expiry the row "off" is written again, so that a person's
// order does not end with it. Peers are told of each writing, also one that was released
// before, so it is not written more often than it has to be.
const renewOff = 12 * 24 * time.Hour

// Mode implements [mitigate.Target].
func (t *Target) Mode(ctx context.Context) (mode detect.Mode, local bool, err error) {
	row, found, err := t.row(ctx, offKey)
	if err != nil {
		return "", false, err
	}
	if found && row.data["gpt0"] > 0 {
		if row.data["exp"] > uint64(renewOff/time.Millisecond) {
			return detect.ModeOff, true, nil
		}
		gpt0 := strconv.FormatUint(row.data["gpt0"], 10)
		_, err := t.client.ask(ctx, "set", "table", verdictTable, "key", offKey, "data.gpt0", gpt0)
		return detect.ModeOff, true, err
	}
	row, found, err = t.row(ctx, modeKey)
	if err != nil {
		return "", false, err
	}
	switch code := row.data["gpt0"]; {
	case found && code == modeMonitor:
		return detect.ModeMonitor, false, nil
	case found && code == modeEnforce:
		return detect.ModeEnforce, false, nil
	}
	return detect.ModeOff, false, nil
}

// row reads one row of the verdict table.
func (t *Target) row(ctx context.Context, key string) (tableRow, bool, error) {
	dump, err := t.client.ask(ctx, "show", "table", verdictTable, "key", key)
	if err != nil {
		return tableRow{}, false, prepared(err)
	}
	for line := range strings.Lines(dump) {
		if row, ok := parseTableRow(strings.TrimSuffix(line, "\n")); ok && row.key == key {
			return row, true, nil
		}
	}
	return tableRow{}, false, nil
}
