package config

import (
	"errors"
	"strconv"

	"offpath/detect/override"
)

// overridesPath is the full name of the list of overrides.
const overridesPath = "detect.overrides"

// OverrideSet makes the overrides in force, for one engine. A configuration that
// was loaded has none that are wrong.
func (c *Config) OverrideSet() (*override.Set, error) { return override.New(c.Detect.Overrides) }

// checkOverrides refuses overrides that can't be.
func (l *loader) checkOverrides() error {
	_, err := l.config.OverrideSet()
	var mistake *override.Error
	if errors.As(err, &mistake) {
		item := overridesPath + "[" + strconv.Itoa(mistake.Index) + "]"
		return l.mistake(l.within(item, overridesPath, mistake.Key), "%s", mistake.Text)
	}
	return err
}

// overrides says how an override is read.
var overrides = statements[override.Statement]{
	list: overridesPath, one: "override", many: "overrides", first: "when: …", example: `[{when: 'url.path == "/enter"', role: login}]`, keys: override.Keys,
	fields: func(st *override.Statement) map[string]any {
		return map[string]any{"when": &st.When, "role": &st.Role, "outcome": &st.Outcome}
	},
}

// overrideFlow writes an override in YAML's flow style: what is given of it.
func overrideFlow(st override.Statement) string {
	text := "{when: " + strconv.Quote(st.When)
	if st.Role != "" {
		text += ", role: " + strconv.Quote(st.Role)
	}
	if st.Outcome != "" {
		text += ", outcome: " + strconv.Quote(st.Outcome)
	}
	return text + "}"
}
