package cli

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// Set by the linker (-X) in releases; a build from a checkout says what the
// Go command knows.
var (
	version string
	commit  string
)

func runVersion(_ context.Context, std Streams, c *command, args []string) error {
	if err := newFlags(c, std).parseNone(args); err != nil {
		return err
	}
	v := buildVersion()
	_, err := fmt.Fprintf(std.Out, "offpath %s\ncommit  %s\ngo      %s %s/%s\nbuild   %s\n",
		v.version, v.commit, runtime.Version(), runtime.GOOS, runtime.GOARCH, strings.Join(v.settings, " "))
	return err
}

// buildInfo is what a binary knows of its making.
type buildInfo struct {
	version, commit string
	settings        []string
}

func buildVersion() buildInfo {
	v := buildInfo{version: version, commit: commit}
	if info, ok := debug.ReadBuildInfo(); ok {
		module := info.Main.Version
		if module == "(devel)" {
			module = ""
		}
		v.version = cmp.Or(v.version, module)
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				v.commit = cmp.Or(v.commit, s.Value)
			case s.Key == "vcs.modified" && s.Value == "true":
				v.settings = append(v.settings, "modified")
			case strings.HasPrefix(s.Key, "-") || s.Key == "CGO_ENABLED" || s.Key == "GOAMD64":
				v.settings = append(v.settings, s.Key+"="+s.Value)
			}
		}
	}
	v.version, v.commit = cmp.Or(v.version, "development"), cmp.Or(v.commit, "unknown")
	return v
}
