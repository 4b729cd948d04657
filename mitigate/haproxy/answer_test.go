package haproxy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/mitigate"
)

func TestSessionsAreSplitIntoAnswers(t *testing.T) {
	tests := []struct {
		name    string
		session string
		n       int
		want    []answer
		err     string // "" none
	}{
		{"silence is success", "\n\n\n", 3, []answer{{-1, ""}, {-1, ""}, {-1, ""}}, ""},
		{"a failure has a level", "\n[3]: No such table\n\n\n", 3, []answer{{-1, ""}, {3, "No such table"}, {-1, ""}}, ""},
		{"a failure may have several lines", "[6]: Unknown command\n  help\n\n", 1, []answer{{6, "Unknown command\n  help"}}, ""},
		{"a dump has no level", "# table: t, type: ip, size:1, used:0\nrow\n\n", 1, []answer{{-1, "# table: t, type: ip, size:1, used:0\nrow"}}, ""},
		{"an answer is missing", "\n\n", 3, []answer{{-1, ""}, {-1, ""}}, "2 answers to 3 commands"},
		{"the last answer is cut", "\n[3]: No su", 2, []answer{{-1, ""}}, "1 answers to 2 commands"},
		{"a line without its empty line is cut", "\nrow\n", 2, []answer{{-1, ""}}, "1 answers to 2 commands"},
		{"nothing", "", 1, []answer{}, "0 answers to 1 commands"},
		{"more than was asked", "\n\nHTTP/1.1 400 Bad request\n", 2, []answer{{-1, ""}, {-1, ""}}, "octets after the last answer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := splitAnswers([]byte(tt.session), tt.n)
			assert.Equal(t, tt.want, got)
			if tt.err == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, tt.err)
			}
		})
	}
}

func TestTableRowsAreRead(t *testing.T) {
	tests := []struct {
		name, line string
		key        string
		data       map[string]uint64
		ok         bool
	}{
		{
			"a verdict", "0x55adf091da28: key=ip:2001:db8::1 use=0 exp=2073599996 gpt0=1 gpc0=4294967295 conn_cnt=4022250974",
			"ip:2001:db8::1", map[string]uint64{"use": 0, "exp": 2073599996, "gpt0": 1, "gpc0": 4294967295, "conn_cnt": 4022250974}, true,
		},
		{
			"a rate shows its period", "0x1: key=r:x use=1 exp=3 http_req_rate(60000)=7",
			"r:x", map[string]uint64{"use": 1, "exp": 3, "http_req_rate": 7}, true,
		},
		{"a key that looks like fields", "0x1: key=a use=9 gpt0=5 use=0 gpt0=1", "a use=9 gpt0=5", map[string]uint64{"use": 0, "gpt0": 1}, true},
		{"the head is no row", "# table: t, type: string, size:1048576, used:2", "", nil, false},
		{"no fields", "0x1: key=a", "", nil, false},
		{"a field without a number", "0x1: key=a use=0 gpt0=x", "", nil, false},
		{"a negative number", "0x1: key=a use=0 gpt0=-1", "", nil, false},
		{"nothing", "", "", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			row, ok := parseTableRow(tt.line)
			assert.Equal(t, tt.ok, ok)
			assert.Equal(t, tableRow{tt.key, tt.data}, row)
		})
	}
}

func TestTableHeadsAreRead(t *testing.T) {
	head, ok := parseTableHead("# table: offpath_verdicts, type: string, size:1048576, used:2")
	require.True(t, ok)
	assert.Equal(t, tableHead{"offpath_verdicts", "string", 1048576, 2}, head)
	for _, line := range []string{"", "# table: ", "# table: t, size:1", "# table: t, type: ip, size:x", "# table: t, type: ip, used:-1", "0x1: key=a use=0"} {
		_, ok := parseTableHead(line)
		assert.False(t, ok, "%q", line)
	}
}

func TestBufferSizeIsFound(t *testing.T) {
	assert.Equal(t, 16384, parseBufsize("Dumping pools usage\n  - Pool buffer (16384 bytes) : 3 allocated\n"))
	for _, text := range []string{"", "Pool buffer (", "Pool buffer (x bytes)", "Pool buffer (-1 bytes)", "Pool buffer (99999999999999999999 bytes)"} {
		assert.Zero(t, parseBufsize(text), "%q", text)
	}
}

// FuzzAnswers gives the parsers whatever a load balancer, or what pretends to
// be one, may send: each octet belongs to at most one answer, and what is cut
// is never taken for whole.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte("\n\n[3]: No such table\n\n"), 3)
	f.Add([]byte("\n# table: offpath_verdicts, type: string, size:10, used:1\n0x5: key=ip:192.0.2.1 use=0 exp=1 gpt0=1 gpc0=2\n\n"), 2)
	f.Add([]byte("\nName: HAProxy\nPid: 1\nStart_time_sec: 2\n\n"), 2)
	f.Add([]byte("\n0x5 192.0.2.0/24 1:2:3:0000000100000001\n\n"), 2)
	f.Add([]byte("\n# id (file) description\n0 (/a/b.map) pattern loaded\n\n"), 2)
	f.Fuzz(func(t *testing.T, session []byte, n int) {
		n &= 0xff
		answers, err := splitAnswers(session, n)
		require.LessOrEqual(t, len(answers), n)
		length := 0
		for _, a := range answers {
			length += len(a.text) + 1
			assert.True(t, -1 <= a.severity && a.severity <= 7)
			parseInfo(a.text)
			parseBufsize(a.text)
			for _, path := range parseMaps(a.text) {
				assert.Contains(t, a.text, path)
			}
			for line := range strings.Lines(a.text) {
				line = strings.TrimSuffix(line, "\n")
				parseTableHead(line)
				if row, ok := parseTableRow(line); ok {
					assert.Contains(t, line, row.key)
				}
				_, value, _ := parseMapLine(line)
				if r, ok := parseLine(value); ok {
					back, ok := parseMapValue(r.mapValue())
					assert.True(t, ok)
					assert.Equal(t, r, back)
				}
			}
		}
		assert.LessOrEqual(t, length, len(session))
		if len(answers) < n {
			assert.ErrorIs(t, err, mitigate.ErrIncomplete)
		}
		if err == nil {
			cut, cutErr := splitAnswers(session[:max(len(session)-1, 0)], n)
			assert.True(t, n == 0 || cutErr != nil && len(cut) < n, "cut by an octet it is still whole")
		}
	})
}
