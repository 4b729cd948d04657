package balancer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// haproxy is HAProxy with its Runtime API.
type haproxy struct{}

const (
	haproxyEtc = "/etc/haproxy"
	// haproxyFormat is the log-format: milliseconds, client, status.
	haproxyFormat = `%[var(txn.lab_ms)] %ci %ST`
)

func (haproxy) path() string { return "haproxy" }
func (haproxy) etc() string  { return haproxyEtc }
func (haproxy) journal(c Config) (io.ReadCloser, error) {
	return datagrams(c.Namespace, c.path(journalName))
}
func (haproxy) check(Config) []string { return []string{"-f", haproxyEtc + "/haproxy.cfg", "-c", "-q"} }
func (haproxy) run(Config) []string   { return []string{"-f", haproxyEtc + "/haproxy.cfg", "-db"} }

func (haproxy) target(c Config) string {
	return fmt.Sprintf("type: haproxy, address: 'unix:%s'", haproxySocket(c))
}

// haproxySocket is the path of the admin socket.
func haproxySocket(c Config) string { return c.path("haproxy.sock") }

func (h haproxy) files(c Config, setup string, certificate []byte) (map[string][]byte, error) {
	p, err := cut(setup)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{haproxyEtc + "/haproxy.cfg": []byte(h.file(c, p)), p.scriptFile: []byte(p.script)}
	if certificate != nil {
		files[haproxyEtc+"/certificate.pem"] = certificate
	}
	for _, name := range p.files {
		files[name] = nil
	}
	return files, nil
}

func (h haproxy) up(ctx context.Context, c Config) bool {
	stat, err := h.ask(ctx, c, "show servers state bank")
	// be_id be_name srv_id srv_name srv_addr srv_op_state …: 2 is up.
	fields := bytes.Fields(lastLine(stat))
	return err == nil && len(fields) > 5 && string(fields[5]) == "2"
}

func (h haproxy) dropped(ctx context.Context, c Config) (int, error) {
	info, err := h.ask(ctx, c, "show info")
	if err != nil {
		return 0, err
	}
	_, rest, found := bytes.Cut(info, []byte("\nDroppedLogs: "))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	n, err := strconv.Atoi(string(line))
	if !found || err != nil {
		return 0, fmt.Errorf("haproxy does not say how many log lines it dropped")
	}
	return n, nil
}

// ask sends one command to the admin socket.
func (haproxy) ask(ctx context.Context, c Config, command string) ([]byte, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", haproxySocket(c))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return nil, err
	}
	return io.ReadAll(conn)
}

func (haproxy) entry(line string) (e Entry, err error) {
	var ms int64
	var client string
	if _, err = fmt.Sscan(line, &ms, &client, &e.Status); err != nil {
		return e, err
	}
	e.Time = time.UnixMilli(ms)
	e.Client, err = netip.ParseAddr(client)
	return e, err
}

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
func (haproxy) file(c Config, p parts) string {
	bind := ""
	for _, address := range c.addresses() {
		bind += "    bind " + address.String()
		if c.TLS {
			bind += " ssl crt " + haproxyEtc + "/certificate.pem" + " alpn http/1.1"
		}
		bind += "\n"
	}
	rules, elsewhere := p.rules, ""
	if c.Forgetful {
		rules, elsewhere = "", `
frontend elsewhere
    bind 127.0.0.1:8081
`+p.rules+`
    default_backend bank
`
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
    log-format "` + haproxyFormat + `"
    http-request set-var(txn.lab_ms) date(0,ms)
` + rules + `
    default_backend bank
` + elsewhere + `
backend bank
    option httpchk GET /health
    http-reuse safe
    server bank1 ` + c.Bank.String() + ` check inter 2s
`
}
