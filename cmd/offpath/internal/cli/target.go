package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"offpath/cmd/offpath/internal/config"
	"offpath/cmd/offpath/internal/wiring"
)

const targetDetail = `
NAME is the name of a target in the configuration, or a type of target such as
"haproxy" for the first one of that type there (or, without one, for one with
the usual paths).
`

func runTargetConfig(_ context.Context, std Streams, c *command, args []string) error {
	f := newFlags(c, std)
	path := f.configFlag()
	name, err := f.parseOne(args, "NAME", "haproxy")
	if err != nil {
		return err
	}
	settings, err := config.Load(*path, os.Environ())
	if err != nil {
		return err
	}
	target, err := chooseTarget(settings, name)
	if err != nil {
		return err
	}
	text, err := wiring.TargetSetup(target, settings)
	if err != nil {
		return err
	}
	if _, err := text.WriteTo(std.Out); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// chooseTarget finds the target that NAME means; one with a type alone stands
// for a load balancer with the usual paths.
func chooseTarget(c *config.Config, name string) (*config.Target, error) {
	targets := c.Mitigate.Targets
	if i := slices.IndexFunc(targets, func(t config.Target) bool { return t.Name == name }); i >= 0 {
		return &targets[i], nil
	}
	if types := config.TargetTypes(); !slices.Contains(types, name) {
		return nil, wrongUsage("%q is neither a type of target (%s) nor the name of one in the configuration", name, strings.Join(types, ", "))
	}
	if i := slices.IndexFunc(targets, func(t config.Target) bool { return t.Type == name }); i >= 0 {
		return &targets[i], nil
	}
	return &config.Target{Type: name}, nil
}
