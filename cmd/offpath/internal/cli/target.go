package cli

import (
	"context"
	"fmt"
	"os"

	"offpath/cmd/offpath/internal/config"
	"offpath/mitigate/haproxy"
)

const targetDetail = `
NAME is the name of a target in the configuration, or "haproxy" for the first
HAProxy there (or, without one, for an HAProxy with the usual paths).
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
	text, err := haproxy.Setup{
		Address:        target.Address,
		MapDir:         target.MapDir,
		PeerName:       target.Name,
		TrustedProxies: settings.Client.TrustedProxies,
		IgnoreHeaders:  settings.Client.IgnoreHeaders,
	}.Render()
	if err != nil {
		return err
	}
	if _, err := text.WriteTo(std.Out); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// chooseTarget finds the target that NAME means; the zero value stands for an
// HAProxy with the usual paths.
func chooseTarget(c *config.Config, name string) (config.Target, error) {
	for _, t := range c.Mitigate.Targets {
		if t.Name == name {
			return t, nil
		}
	}
	if name != haproxy.Kind {
		return config.Target{}, wrongUsage("%q is neither haproxy nor the name of a target in the configuration", name)
	}
	for _, t := range c.Mitigate.Targets {
		if t.Type == name {
			return t, nil
		}
	}
	return config.Target{}, nil
}
