package balancer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"time"
)

// nginx is nginx with the Lua module.
type nginx struct{}

const (
	nginxEtc   = "/etc/nginx"
	nginxToken = "a-token-that-the-laboratory-alone-uses"
	modules    = "/usr/lib/nginx/modules/"
	luaModule  = modules + "ngx_http_lua_module.so"
)

func (nginx) path() string { return "nginx" }
func (nginx) etc() string  { return nginxEtc }
func (nginx) journal(c Config) (io.ReadCloser, error) {
	return datagrams(c.Namespace, c.path(journalName))
}
func (nginx) check(Config) []string { return []string{"-t", "-q"} }
func (nginx) run(Config) []string   { return []string{"-g", "daemon off;"} }

func (nginx) target(c Config) string {
	return fmt.Sprintf("type: nginx, address: 'unix:%s', token: 'file:%s'", c.path("nginx.sock"), c.path("nginx.token"))
}

// nginxParts are what `offpath target-config` prints, by the files that it names, with the
// file for the token and the one that servers include.
type nginxParts struct {
	files        map[string][]byte
	token, rules string
}

var (
	nginxPart = regexp.MustCompile(`(?m)^# ===== part \d: .*?(/\S+) =====\n`)
	tokenLine = regexp.MustCompile(`(?m)^#.* > (/\S+)\)$`)
	rulesLine = regexp.MustCompile(`(?m)^#\s+include (/\S+);$`)
)

func cutNginx(setup string) (p nginxParts, err error) {
	p.files = map[string][]byte{}
	marks := nginxPart.FindAllStringSubmatchIndex(setup, -1)
	for i, mark := range marks {
		end := len(setup)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		p.files[setup[mark[2]:mark[3]]] = []byte(setup[mark[1]:end])
	}
	token, rules := tokenLine.FindStringSubmatch(setup), rulesLine.FindStringSubmatch(setup)
	if len(p.files) != 3 || token == nil || rules == nil || p.files[rules[1]] == nil {
		return p, fmt.Errorf("cut the printed setup: a part, the file of the token or the line to include is missing in %.200q", setup)
	}
	p.token, p.rules = token[1], rules[1]
	return p, nil
}

func (n nginx) files(c Config, setup string, certificate []byte) (map[string][]byte, error) {
	p, err := cutNginx(setup)
	if err != nil {
		return nil, err
	}
	// offpath is given a copy, as the print says.
	if err := os.WriteFile(c.path("nginx.token"), []byte(nginxToken), 0o600); err != nil {
		return nil, err
	}
	p.files[p.token] = []byte(nginxToken)
	p.files[nginxEtc+"/nginx.conf"] = []byte(n.file(c, p.rules))
	if certificate != nil {
		p.files[nginxEtc+"/certificate.pem"] = certificate
	}
	return p.files, nil
}

// file is the whole nginx.conf: what this bank's operator had, with the line that the
// print says.
func (nginx) file(c Config, rules string) string {
	listen := ""
	for _, address := range c.addresses() {
		listen += "        listen " + address.String()
		if c.TLS {
			listen += " ssl"
		}
		listen += ";\n"
	}
	if c.TLS {
		listen += "        ssl_certificate " + nginxEtc + "/certificate.pem;\n        ssl_certificate_key " + nginxEtc + "/certificate.pem;\n"
	}
	return `load_module ` + modules + `ndk_http_module.so;
load_module ` + luaModule + `;
user root;
worker_processes 1;
pid ` + c.path("nginx.pid") + `;
error_log ` + c.path(nginxErrors) + `;
events { worker_connections 8000; }
http {
    log_format journal '$msec $request_time $remote_addr $status';
    access_log syslog:server=unix:` + c.path(journalName) + `,nohostname,tag=journal journal;
    include ` + nginxEtc + `/conf.d/*.conf;
    upstream bank {
        server ` + c.Bank.String() + `;
        keepalive 64;
    }
    server {
` + listen + `        keepalive_timeout 30s;
        include ` + rules + `;
        location / {
            proxy_pass http://bank;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_connect_timeout 2s;
            proxy_read_timeout 30s;
        }
    }
    # By which the laboratory sees that it is up.
    server {
        listen unix:` + c.path(nginxReady) + `;
        access_log off;
        location / { proxy_pass http://bank/health; }
    }
}
`
}

const (
	nginxReady  = "nginx-ready.sock"
	nginxErrors = "nginx-error.log"
)

func (nginx) up(ctx context.Context, c Config) bool {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", c.path(nginxReady))
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://nginx/", nil)
	if err != nil {
		return false
	}
	answer, err := client.Do(request)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// dropped counts what nginx complains of in its error log.
func (nginx) dropped(_ context.Context, c Config) (int, error) {
	text, err := os.ReadFile(c.path(nginxErrors))
	return bytes.Count(text, []byte("while logging to syslog")), err
}

// entry reads `<190>Nov 23 04:00:00 journal: 1795406400.250 0.013 198.18.0.9 200`: the
// time of the line and how long ago the request began.
func (nginx) entry(line string) (e Entry, err error) {
	var at, took float64
	var client string
	_, line, _ = strings.Cut(line, " journal: ")
	if _, err = fmt.Sscan(line, &at, &took, &client, &e.Status); err != nil {
		return e, err
	}
	e.Time = time.UnixMilli(int64((at-took)*1000 + 0.5))
	e.Client, err = netip.ParseAddr(client)
	return e, err
}
