package engine

import (
	"fmt"
	"os"
)

// Report returns the text of a report. With an error, the report goes to the log
// and only the error is returned; report may be nil then.
func Report[R any, P interface {
	*R
	Text() string
}](report P, err error) (string, error) {
	if err == nil {
		return report.Text(), nil
	}
	if report != nil {
		fmt.Fprint(os.Stderr, report.Text())
	}
	return "", err
}
