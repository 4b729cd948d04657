package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The linker says nothing of a variable that it doesn't find.
func TestAReleaseSaysWhichItIs(t *testing.T) {
	t.Parallel()
	recipe, err := exec.Command("make", "-C", "../..", "-n", "build", "version=v9.8.7", "commit=0123abc").CombinedOutput()
	require.NoError(t, err, "%s", recipe)
	flags := regexp.MustCompile(`-ldflags '([^']*)'`).FindSubmatch(recipe)
	require.NotNil(t, flags, "%s", recipe)
	release := filepath.Join(t.TempDir(), "offpath")
	build := exec.Command("go", "build", "-ldflags", string(flags[1]), "-o", release, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.Command(release, "version").CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Regexp(t, `(?m)\Aoffpath v9\.8\.7$`, string(out))
	assert.Regexp(t, `(?m)^commit  0123abc$`, string(out))
}
