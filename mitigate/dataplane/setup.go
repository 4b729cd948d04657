package dataplane

import (
	"cmp"
	"embed"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"offpath/mitigate/haproxy"
	"offpath/mitigate/internal/printed"
)

//go:embed setup/*.cfg
var setupFiles embed.FS

//go:embed setup/offpath.lua
var script string

// setupTable is a table of the configuration that [Setup] prints, whose name ends in the
// version: raised when rules or script change in what they do with what is written here.
const setupTable = "offpath_dataplane_1"

// Setup is what an HAProxy's configuration needs to enforce verdicts that come by its Data
// Plane API. The zero value suits an HAProxy that clients reach directly.
type Setup struct {
	Name    string // of the target; default lb1
	Address string // of the API; default https://lb1.example:5555
	User    string // of the API; default offpath
	// MapDir is the API's folder of maps; default [DefaultMapDir].
	MapDir string
	// TrustedProxies and the others are those of [haproxy.Setup]. The body of the answer
	// that deceives lies beside the maps.
	TrustedProxies    []netip.Prefix
	ClientHeader      string
	IgnoreHeaders     []string
	Deception         *haproxy.Deception
	Tarpit            time.Duration
	TarpitConnections int
}

func (s *Setup) setDefaults() {
	s.Name = cmp.Or(s.Name, "lb1")
	s.Address = strings.TrimRight(cmp.Or(s.Address, "https://lb1.example:5555"), "/")
	s.User = cmp.Or(s.User, "offpath")
	s.MapDir = strings.TrimRight(cmp.Or(s.MapDir, DefaultMapDir), "/")
}

func (s *Setup) validate() error {
	if problem := CheckAddress(s.Address); problem != "" {
		return fmt.Errorf("haproxy data plane setup: address %q %s", s.Address, problem)
	}
	if !PlainPath(s.MapDir) {
		return fmt.Errorf("haproxy data plane setup: %q is not an absolute path of plain letters", s.MapDir)
	}
	for _, word := range []string{s.Name, s.User} {
		if !plain(word) {
			return fmt.Errorf("haproxy data plane setup: %q holds what haproxy.cfg may take for syntax", word)
		}
	}
	return nil
}

// Config is a [Setup] rendered.
type Config struct {
	Header   string   // comments: how to install the rest
	Global   string   // lines of the global section
	Sections string   // whole sections
	Rules    string   // lines that come first in each protected frontend
	Files    []string // map files that have to exist before HAProxy starts
	// DeceptionFile is the body of the answer that deceives, which has to exist, too;
	// "": none.
	DeceptionFile string
	Script        string // in Lua
	// ScriptFile is where the script lies.
	ScriptFile string
}

// mapFile is the file of a map.
func mapFile(dir, name string) string { return dir + "/" + name + ".map" }

// Render checks the setup and makes the configuration.
func (s Setup) Render() (Config, error) {
	s.setDefaults()
	if err := s.validate(); err != nil {
		return Config{}, err
	}
	view := struct {
		Setup
		haproxy.Parts
		VerdictFile, NetworkFile, AllowFile, AllowLiveFile, ModeFile, LuaFile string
		Files                                                                 []string
		SetupTable, Ignored                                                   string
	}{
		Setup: s, SetupTable: setupTable, LuaFile: s.MapDir + "/offpath.lua", Ignored: strings.Join(s.IgnoreHeaders, ":"),
		VerdictFile: mapFile(s.MapDir, verdictMap), NetworkFile: mapFile(s.MapDir, networkMap),
		AllowFile: mapFile(s.MapDir, allowMap), AllowLiveFile: mapFile(s.MapDir, allowLiveMap), ModeFile: mapFile(s.MapDir, modeMap),
	}
	view.Files = []string{view.AllowFile, view.AllowLiveFile, view.ModeFile, view.NetworkFile, view.VerdictFile}
	var err error
	view.Parts, err = haproxy.Setup{
		TrustedProxies: s.TrustedProxies, ClientHeader: s.ClientHeader, IgnoreHeaders: s.IgnoreHeaders,
		Deception: s.Deception, Tarpit: s.Tarpit, TarpitConnections: s.TarpitConnections,
	}.Parts(view.AllowFile, view.AllowLiveFile)
	if err != nil {
		return Config{}, err
	}
	config := Config{
		Files: view.Files, ScriptFile: view.LuaFile, DeceptionFile: view.DeceptionFile,
		Script: view.Script + "\n" + strings.Replace(script, "VERDICTS", view.VerdictFile, 1),
	}
	if err := printed.Texts(setupFiles, "setup/*.cfg", view, map[string]*string{
		"header.cfg": &config.Header, "global.cfg": &config.Global,
		"sections.cfg": &config.Sections, "rules.cfg": &config.Rules,
	}); err != nil {
		return Config{}, fmt.Errorf("haproxy data plane setup: %w", err)
	}
	return config, nil
}

// WriteTo prints everything with its explanation, for a person.
func (c Config) WriteTo(w io.Writer) (int64, error) {
	return printed.Write(w, c.Header,
		printed.Part{Where: "into your global section", Text: c.Global},
		printed.Part{Where: "sections of their own", Text: c.Sections},
		printed.Part{Where: "first in every protected frontend", Text: c.Rules},
		printed.Part{Where: "the file " + c.ScriptFile, Text: c.Script},
	)
}
