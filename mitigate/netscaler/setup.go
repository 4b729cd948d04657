package netscaler

import (
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"offpath/mitigate/internal/printed"
)

//go:embed setup/*
var setupFiles embed.FS

// setupMark is the comment of the string map of verdicts; it tells the version of the
// policies: raised when they change in what they do with what is written here.
const setupMark = "offpath setup 1"

// objects are what the target asks for to see whether the load balancer is prepared, as
// NITRO names them.
func objects() []string {
	return []string{
		"policystringmap/" + verdictMap, "policystringmap/" + modeMap, "policystringmap/" + offMap, "policystringmap/" + lifeMap,
		"policydataset/" + allow4, "policydataset/" + allow6,
		"responderpolicylabel/offpath_refuse4", "responderpolicylabel/offpath_refuse6",
		"rewritepolicylabel/offpath_tag4", "rewritepolicylabel/offpath_tag6",
	}
}

// checkMark reads the string map of verdicts.
func checkMark(answer []byte) error {
	var object struct {
		Maps []struct {
			Comment string `json:"comment"`
		} `json:"policystringmap"`
	}
	if err := json.Unmarshal(answer, &object); err != nil || len(object.Maps) != 1 {
		return fmt.Errorf("netscaler: the answer is no string map")
	}
	if object.Maps[0].Comment != setupMark {
		return fmt.Errorf("%w: string map %s is of another version of offpath", ErrNotPrepared, verdictMap)
	}
	return nil
}

// Setup is what a NetScaler's configuration needs to enforce verdicts.
type Setup struct {
	Name    string // of the target; default lb1
	Address string // of NITRO, as in [Options]; default https://192.0.2.10
	User    string // default offpath
}

// Config is a [Setup] rendered.
type Config struct {
	Header   string // comments: how to install the rest
	Commands string // of the NetScaler's command line
}

// PlainName says whether a name of a user or target has nothing that a command line takes for
// syntax.
func PlainName(name string) bool {
	return name != "" && len(name) <= 64 && strings.IndexFunc(name, func(c rune) bool {
		return (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && !strings.ContainsRune("._-", c)
	}) < 0
}

// lookup is one place in the string map of verdicts where a client can stand.
type lookup struct {
	Name string // of its actions and policies
	// Record is the expression for what is there; empty if nothing is.
	Record string
	// Priorities of its policies.
	Refuse, Pass, Tag, Watch int
}

// Live is the expression that is true of a record with a beginning, before its expiry.
func (l lookup) Live(beginning string) string {
	return l.Record + `.STARTSWITH("` + beginning + `") && ` + l.Record +
		`.AFTER_STR(":").AFTER_STR(":").BEFORE_STR(":").TYPECAST_NUM_T(DECIMAL).GT(SYS.TIME.TYPECAST_NUM_AT)`
}

// ID is the expression for the id of its verdict.
func (l lookup) ID() string {
	return l.Record + `.AFTER_STR(":").AFTER_STR(":").AFTER_STR(":")`
}

// family is what virtual servers of one family of addresses need.
type family struct {
	Number  int // 4 or 6
	Client  string
	Lookups []lookup
}

func newFamily(number int, client string, lengths []int) family {
	f := family{Number: number, Client: client + ".TYPECAST_TEXT_T"}
	add := func(name, text string) {
		n := len(f.Lookups)
		f.Lookups = append(f.Lookups, lookup{
			Name: fmt.Sprintf("offpath%d_%s", number, name), Record: "(" + text + `).MAP_STRING("` + verdictMap + `")`,
			Refuse: 100 + 10*n, Pass: 105 + 10*n, Tag: 100 + 10*n, Watch: 200 + 10*n,
		})
	}
	add("address", f.Client)
	for _, bits := range lengths {
		add(fmt.Sprint(bits), fmt.Sprintf(`%s.SUBNET(%d).TYPECAST_TEXT_T + "/%d"`, client, bits, bits))
	}
	return f
}

// Render checks the setup and makes the configuration.
func (s Setup) Render() (Config, error) {
	s.Name = cmp.Or(s.Name, "lb1")
	s.Address = cmp.Or(s.Address, "https://192.0.2.10")
	s.User = cmp.Or(s.User, "offpath")
	if problem := CheckAddress(s.Address); problem != "" {
		return Config{}, fmt.Errorf("netscaler setup: address %q %s", s.Address, problem)
	}
	for _, name := range []string{s.Name, s.User} {
		if !PlainName(name) {
			return Config{}, fmt.Errorf("netscaler setup: %q is not a name of letters, digits, '.', '_' and '-'", name)
		}
	}
	view := struct {
		Setup
		Mark     string
		Families []family
	}{s, setupMark, []family{newFamily(4, "CLIENT.IP.SRC", lengths4), newFamily(6, "CLIENT.IPV6.SRC", lengths6)}}
	var c Config
	if err := printed.Texts(setupFiles, "setup/*", view, map[string]*string{"header.txt": &c.Header, "commands.txt": &c.Commands}); err != nil {
		return Config{}, fmt.Errorf("netscaler setup: %w", err)
	}
	return c, nil
}

// WriteTo prints everything with its explanation, for a person.
func (c Config) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, c.Header+"\n"+c.Commands)
	return int64(n), err
}
