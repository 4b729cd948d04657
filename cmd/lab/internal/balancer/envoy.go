package balancer

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// envoy is Envoy, of which offpath is the xDS server.
type envoy struct{}

// envoyVersion is that which testdata/setup/packages.sh fetches.
const envoyVersion = "1.40.0"

func (envoy) path() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "envoy"
	}
	return filepath.Join(cache, "offpath", "envoy-"+envoyVersion, "envoy")
}

func (envoy) etc() string { return "" }

const (
	envoyFile  = "envoy.yaml"
	envoyReady = "envoy-ready.sock"
	envoyAdmin = "envoy-admin.sock"
	envoyXDS   = "envoy-xds.sock"
)

func (envoy) check(c Config) []string {
	return []string{"--mode", "validate", "-c", filepath.Join(c.shadow(), envoyFile), "--log-level", "error"}
}

func (envoy) run(c Config) []string {
	return []string{"-c", filepath.Join(c.shadow(), envoyFile), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "--file-flush-interval-msec", "20"}
}

func (envoy) target(c Config) string {
	return fmt.Sprintf("type: envoy, address: 'unix:%s'", c.path(envoyXDS))
}

func (envoy) journal(c Config) (io.ReadCloser, error) { return pipe(c.path(journalName)) }

func (e envoy) files(c Config, setup string, certificate []byte) (map[string][]byte, error) {
	var parts [4]string
	marks := partLine.FindAllStringSubmatchIndex(setup, -1)
	for i, mark := range marks {
		end := len(setup)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		if n := int(setup[mark[2]] - '1'); n >= 0 && n < len(parts) {
			parts[n] = setup[mark[1]:end]
		}
	}
	for _, part := range parts {
		if part == "" {
			return nil, fmt.Errorf("cut the printed setup: a part is missing in %.200q", setup)
		}
	}
	files := map[string][]byte{envoyFile: []byte(e.file(c, parts))}
	if certificate != nil {
		files["certificate.pem"] = certificate
	}
	return files, nil
}

// file is the whole envoy.yaml: what this bank's operator had, with the printed parts where
// the print says they go.
func (envoy) file(c Config, parts [4]string) string {
	manager, filters, logs, cluster := parts[0], parts[1], parts[2], parts[3]
	listeners := ""
	add := func(name, address string, tls bool, manager, filters, logs string) {
		socket := ""
		if tls {
			pem := filepath.Join(c.shadow(), "certificate.pem")
			socket = `      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [http/1.1]
            tls_certificates: [{certificate_chain: {filename: ` + pem + `}, private_key: {filename: ` + pem + `}}]
`
		}
		listeners += `  - name: ` + name + `
    address: {` + address + `}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ` + name + `
          common_http_protocol_options: {idle_timeout: 30s}
          http_protocol_options: {accept_http_10: true}
          route_config:
            virtual_hosts:
            - {name: bank, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: bank, timeout: 30s}}]}
` + indented(10, manager) + `          access_log:
` + indented(10, logs) + `          http_filters:
` + indented(10, filters) + `          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
` + socket
	}
	journal := `- name: journal
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
    path: ` + c.path(journalName) + `
    log_format: {text_format_source: {inline_string: "%START_TIME(%s.%3f)% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %RESPONSE_CODE%\n"}}
`
	at := func(a netip.AddrPort) string {
		return fmt.Sprintf("socket_address: {address: %q, port_value: %d}", a.Addr(), a.Port())
	}
	plain := "use_remote_address: true\n" // the rest of the print is elsewhere
	for i, address := range c.addresses() {
		name := "bank" + strconv.Itoa(i)
		if c.Forgetful {
			add(name, at(address), c.TLS, plain, "", journal)
		} else {
			add(name, at(address), c.TLS, manager, filters, journal+logs)
		}
	}
	if c.Forgetful {
		add("elsewhere", at(netip.MustParseAddrPort("127.0.0.1:8081")), false, manager, filters, logs)
	}
	// By which the laboratory sees that it is up.
	add("ready", "pipe: {path: "+c.path(envoyReady)+"}", false, "", "", "")
	return `node: {id: lb1, cluster: laboratory}
admin: {address: {pipe: {path: ` + c.path(envoyAdmin) + `}}}
static_resources:
  listeners:
` + listeners + `  clusters:
  - name: bank
    connect_timeout: 2s
    load_assignment: {cluster_name: bank, endpoints: [{lb_endpoints: [{endpoint: {address: {` + at(c.Bank) + `}}}]}]}
` + indented(2, cluster)
}

func indented(by int, text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.Repeat(" ", by) + line)
	}
	return b.String()
}

// get asks at a unix socket.
func (envoy) get(ctx context.Context, socket, path string) (status int, body string, err error) {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://envoy"+path, nil)
	if err != nil {
		return 0, "", err
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	return answer.StatusCode, string(text), err
}

func (e envoy) up(ctx context.Context, c Config) bool {
	status, _, err := e.get(ctx, c.path(envoyReady), "/health")
	return err == nil && status == http.StatusOK
}

// dropped counts the writes of its log that failed.
func (e envoy) dropped(ctx context.Context, c Config) (int, error) {
	_, text, err := e.get(ctx, c.path(envoyAdmin), "/stats?filter=^filesystem.write_failed$")
	if err != nil {
		return 0, err
	}
	var n int
	if _, err := fmt.Sscanf(text, "filesystem.write_failed: %d", &n); err != nil {
		return 0, fmt.Errorf("envoy does not say how many writes of its log failed: %.100q", text)
	}
	return n, nil
}

// entry reads `1795406400.250 198.18.0.9 200`.
func (envoy) entry(line string) (e Entry, err error) {
	var at float64
	var client string
	if _, err = fmt.Sscan(line, &at, &client, &e.Status); err != nil {
		return e, err
	}
	e.Time = time.UnixMilli(int64(at*1000 + 0.5))
	e.Client, err = netip.ParseAddr(client)
	return e, err
}
