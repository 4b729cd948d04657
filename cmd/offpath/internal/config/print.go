package config

import (
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"offpath/detect/override"
	"offpath/detect/policy"
)

// Print writes c as a configuration file that gives the same settings again,
// each with a line that says what it is.
func (c *Config) Print(w io.Writer) error {
	var b strings.Builder
	section := ""
	for _, s := range settings(c) {
		if s.section != section {
			section = s.section
			fmt.Fprintf(&b, "%s:\n", section)
		}
		fmt.Fprintf(&b, "  # %s\n  %s: %s\n", s.doc, s.key, flow(s.field))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// flow writes a value in YAML's flow style, which JSON strings are part of.
func flow(field reflect.Value) string {
	switch value := field.Interface().(type) {
	case time.Duration:
		return value.String()
	case Secret:
		return strconv.Quote(value.String())
	case []string:
		return list(value, strconv.Quote)
	case []netip.Prefix:
		return list(value, func(p netip.Prefix) string { return strconv.Quote(p.String()) })
	case []Target:
		return list(value, targetFlow)
	case []policy.Statement:
		return list(value, policyFlow)
	case []override.Statement:
		return list(value, overrideFlow)
	case string:
		return strconv.Quote(value)
	default:
		return fmt.Sprint(value)
	}
}

func list[T any](values []T, write func(T) string) string {
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = write(v)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
