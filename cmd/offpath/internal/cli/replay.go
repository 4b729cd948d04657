package cli

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"offpath/cmd/offpath/internal/config"
	"offpath/cmd/offpath/internal/logging"
	"offpath/cmd/offpath/internal/replay"
	"offpath/cmd/offpath/internal/wiring"
	"offpath/detect/filter"
)

const replayDetail = `
INPUT is a pcap or pcapng file (.gz and .zst too), "-" for standard input, a
folder (its captures in time order), or a file of transactions (.jsonl,
.jsonl.gz, .jsonl.zst) as --transactions writes them: then detection runs
without packets.

Without --transactions, --findings, --verdicts, --accounts and --sitemap it prints
a report. In these flags, but for --sitemap, "-" is standard output. Nothing is sent
to a load balancer unless --mitigate is given. The same input and configuration give
the same output, octet for octet, whatever --workers is.

With --spec the endpoints seen are compared with a description of the API. shadow: seen
and not described; zombie: described as deprecated, or of an earlier version, and still
used; drifted: seen with a method, status, media type or authentication that is not
described; orphaned: described and not seen. The report lists them, and in the site map
they are under x-offpath-comparison.

--filter takes an expression in CEL (cel.dev) over the fields of --transactions, by
their names there; @timestamp is timestamp:
  http.request.method == "POST" && url.path.startsWith("/login")
  has(http.response.status_code) && http.response.status_code >= 500
  cidr("192.0.2.0/24").containsIP(client.ip) || "gap" in offpath.flags
  timestamp > timestamp("2026-01-31T09:00:00Z") && event.duration > 1000000000
An expression that needs a field that is not there picks nothing. As with --from and
--to, the rest is left out before detection: it is in no output, and what is found and
decided is what the transactions that are left show. A filter that leaves out logins
that were right, or the requests before them, makes attackers of customers.
`

// replayKey is the key of the keyed hashes of a replay: whoever has the
// capture has the secrets in it anyway, and output that repeats is worth more.
const replayKey = "offpath replay: fixed hash key, no secret"

// maxWorkers bounds --workers.
const maxWorkers = 256

func runReplay(ctx context.Context, std Streams, c *command, args []string) error {
	f := newFlags(c, std)
	o := replay.Options{Stdin: std.In, Stdout: std.Out}
	f.StringVar(&o.Transactions, "transactions", "", "write transactions as JSON Lines to `PATH`")
	f.StringVar(&o.Findings, "findings", "", "write findings as JSON Lines to `PATH`")
	f.StringVar(&o.Verdicts, "verdicts", "", "write verdicts as JSON Lines to `PATH`")
	f.StringVar(&o.Accounts, "accounts", "", "write the accounts that campaigns touched as JSON Lines to `PATH`, at the end")
	f.StringVar(&o.Sitemap, "sitemap", "", "write the endpoints seen as OpenAPI 3.1 to `PATH`, .yaml or .json, at the end")
	f.StringVar(&o.Spec, "spec", "", "compare the endpoints seen with the OpenAPI 3 or Swagger 2 description in `FILE`, in the report or in --sitemap")
	detail := f.String("detail", "", "more in each transaction: `LIST` of headers, bodies, tls (every ClientHello as a line of its own), websocket (likewise what each WebSocket has said, at its end), sensitive (classes of sensitive data, and where; also with --sitemap)")
	f.BoolVar(&o.Cleartext, "cleartext", false, "secrets and account names as on the wire instead of keyed hashes")
	f.StringVar(&o.KeyLog, "keylog", "", "decrypt TLS with the NSS key log (SSLKEYLOGFILE) at `PATH`")
	hashKey := f.String("hash-key", "", "key of the keyed hashes, `file:PATH` or env:NAME (default a fixed one)")
	from := f.String("from", "", "leave out what lies before the time `T`, such as 2026-01-31T09:00:00Z")
	to := f.String("to", "", "leave out what lies behind the time `T`")
	expression := f.String("filter", "", "only transactions of which the CEL expression is true, such as `'url.path.startsWith(\"/login\")'` (below)")
	f.IntVar(&o.Workers, "workers", 0, "reassemble with `N` workers (default all cores)")
	f.Float64Var(&o.Speed, "speed", 0, "pace by the capture's own clock times `X` (default 0: as fast as possible)")
	f.BoolVar(&o.Mitigate, "mitigate", false, "really send verdicts to the configured load balancers")
	path := f.configFlag()
	var err error
	if o.Inputs, err = f.parse(args); err != nil {
		return err
	}
	if len(o.Inputs) == 0 {
		return wrongUsage("INPUT is missing; name a capture, a folder, or \"-\" for standard input")
	}
	if o.Workers < 0 || o.Workers > maxWorkers {
		return wrongUsage("--workers: %d is out of range; write a number from 1 to %d", o.Workers, maxWorkers)
	}
	if o.Sitemap != "" && replay.SitemapFormat(o.Sitemap) == nil {
		return wrongUsage("--sitemap: %s ends neither in .yaml nor in .json, which say the format", o.Sitemap)
	}
	if o.Spec != "" && o.Sitemap == "" && (o.Transactions != "" || o.Findings != "" || o.Verdicts != "" || o.Accounts != "") {
		return wrongUsage("--spec: there is no report beside other outputs; name a --sitemap too, which the comparison is written into")
	}
	if o.Workers == 0 {
		o.Workers = min(runtime.GOMAXPROCS(0), maxWorkers)
	}
	if !(o.Speed >= 0 && o.Speed <= 1e9) {
		return wrongUsage("--speed: %v is out of range; write a factor such as 1 or 60, or 0 for as fast as possible", o.Speed)
	}
	if o.Detail, err = parseDetail(*detail); err != nil {
		return err
	}
	if o.Window.From, err = parseTime("--from", *from); err != nil {
		return err
	}
	if o.Window.To, err = parseTime("--to", *to); err != nil {
		return err
	}
	if o.Window.To != 0 && o.Window.To < o.Window.From {
		return wrongUsage("--to: %s lies before --from, %s", *to, *from)
	}
	if *expression != "" {
		if o.Filter, err = filter.Compile(*expression); err != nil {
			return wrongUsage("--filter: %v", err)
		}
	}
	if o.Key, err = parseHashKey(*hashKey); err != nil {
		return err
	}
	if o.Config, err = config.Load(*path, os.Environ()); err != nil {
		return err
	}
	tuneMemory(o.Config)
	o.Log = logging.New(std.Err, o.Config.Log)
	if term.IsTerminal(int(std.Err.Fd())) {
		o.Progress = std.Err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return replay.Run(ctx, o)
}

func parseDetail(list string) (d wiring.Detail, err error) {
	for _, name := range strings.Split(list, ",") {
		switch strings.TrimSpace(name) {
		case "":
		case "headers":
			d.Headers = true
		case "bodies":
			d.Bodies = true
		case "tls":
			d.TLS = true
		case "websocket":
			d.Sockets = true
		case "sensitive":
			d.Sensitive = true
		default:
			return d, wrongUsage("--detail: %q is none of headers, bodies, tls, websocket, sensitive", name)
		}
	}
	return d, nil
}

// timeForms are those that --from and --to may have; without a zone it is UTC.
var timeForms = []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly}

func parseTime(flag, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	for _, form := range timeForms {
		if t, err := time.Parse(form, text); err == nil && t.Year() >= 1970 && t.Year() < 2262 {
			return t.UnixNano(), nil
		}
	}
	return 0, wrongUsage("%s: %q is no time; write it as 2026-01-31T09:00:00Z", flag, text)
}

func parseHashKey(ref string) ([]byte, error) {
	if ref == "" {
		return []byte(replayKey), nil
	}
	secret, err := config.NewSecret(ref)
	if err != nil {
		return nil, wrongUsage("--hash-key: %v", err)
	}
	key, err := secret.ReadKey()
	if err != nil {
		return nil, wrongUsage("--hash-key: %v", err)
	}
	return key, nil
}
