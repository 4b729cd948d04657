package balancer

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"offpath/cmd/lab/internal/internet"
)

// parts are what `offpath target-config` prints, cut as it tells an operator
// to.
type parts struct {
	global, sections, rules string
	script, scriptFile      string   // the script in Lua, and where it lies
	files                   []string // that have to exist before HAProxy starts
}

var (
	partLine  = regexp.MustCompile(`(?m)^# ===== part (\d): .*\n`)
	fileName  = regexp.MustCompile(`/\S+`)
	touchLine = regexp.MustCompile(`(?m)^#\s+touch (.*)$`)
)

// cut cuts the printed setup into its parts.
func cut(setup string) (p parts, err error) {
	marks := partLine.FindAllStringSubmatchIndex(setup, -1)
	for i, mark := range marks {
		end := len(setup)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		text := setup[mark[1]:end]
		switch setup[mark[2]:mark[3]] {
		case "1":
			p.global = text
		case "2":
			p.sections = text
		case "3":
			p.rules = text
		case "4":
			p.script = text
			if file := fileName.FindString(setup[mark[0]:mark[1]]); file != "" {
				p.scriptFile = file
			}
		}
	}
	if touch := touchLine.FindStringSubmatch(setup); touch != nil {
		p.files = strings.Fields(touch[1])
	}
	if p.global == "" || p.sections == "" || p.rules == "" || p.script == "" || p.scriptFile == "" || len(p.files) == 0 {
		return p, fmt.Errorf("cut the printed setup: a part or the list of files is missing in %.200q", setup)
	}
	return p, nil
}

// file is the whole haproxy.cfg: what this bank's operator had, with the
// printed parts where the print says they go. The line that notes the time for
// the journal is the laboratory's own.
func (c Config) file(p parts) string {
	bind := ""
	for _, address := range c.addresses() {
		bind += "    bind " + address.String()
		if c.TLS {
			bind += " ssl crt " + etc + "/certificate.pem" + " alpn http/1.1"
		}
		bind += "\n"
	}
	return `global
    nbthread 1
    maxconn 4000
    log ` + c.path(journalName) + ` len 1024 format raw local0 info
` + p.global + `
defaults
    mode http
    option forwardfor
    option httplog
    option http-keep-alive
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    timeout http-keep-alive 30s

` + p.sections + `
frontend bank
` + bind + `    log global
    log-format "` + format + `"
    http-request set-var(txn.lab_ms) date(0,ms)
` + p.rules + `
    default_backend bank

backend bank
    option httpchk GET /health
    http-reuse safe
    server bank1 ` + c.Bank.String() + ` check inter 2s
`
}

const journalName = "journal.sock"

func (c Config) path(name string) string { return filepath.Join(c.Dir, name) }

// etc is the folder that stands for HAProxy's own: mounted over it in a mount
// namespace of HAProxy alone, so that everything has the paths that an
// operator sees and the machine's own folder stays as it is.
const etc = "/etc/haproxy"

func (c Config) shadow() string { return c.path("etc-haproxy") }

// install writes the configuration and what it refers to.
func (c Config) install(setup string, certificate []byte) error {
	p, err := cut(setup)
	if err != nil {
		return err
	}
	files := map[string][]byte{etc + "/haproxy.cfg": []byte(c.file(p))}
	if certificate != nil {
		files[etc+"/certificate.pem"] = certificate
	}
	for _, name := range p.files {
		files[name] = nil
	}
	files[p.scriptFile] = []byte(p.script)
	for name, text := range files {
		inside, ok := strings.CutPrefix(name, etc+"/")
		if !ok {
			return fmt.Errorf("the printed setup wants %s, which is not in %s", name, etc)
		}
		path := filepath.Join(c.shadow(), inside)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// command is how HAProxy is started. `ip netns exec` has given the shell a
// mount namespace of its own.
func (c Config) command(args ...string) []string {
	return append([]string{"sh", "-c", `mount --bind "$0" ` + etc + ` && exec haproxy "$@"`, c.shadow(), "-f", etc + "/haproxy.cfg"}, args...)
}

// addresses are where the frontend listens.
func (c Config) addresses() []netip.AddrPort {
	return []netip.AddrPort{netip.AddrPortFrom(internet.Service, c.Port()), netip.AddrPortFrom(internet.Service6, c.Port())}
}
