package archive

import (
	"io"
	"time"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
)

// Two things would make compressed bytes depend on more than their input.
//
// The standard library's deflate changes between releases of Go (1.27 replaced it),
// and the engine chooses the Go that compiles this module. So the compressor comes
// from a module whose version go.mod fixes.
//
// That compressor decides with floating-point arithmetic whether a block reuses the
// Huffman table of the previous block, and Go may fuse a multiplication and an
// addition on arm64 and others but not on amd64 (golang/go#81589,
// klauspost/compress#1224): rare inputs then compress differently on different
// architectures. Up to level 6 a block is one window, and a flush forgets the table,
// so flushing after each window leaves no decision. It costs some 0.02 % of size.
const (
	level  = 6
	window = 65535 // a full window up to level 6
)

// NewGzipWriter returns a writer of one gzip member whose bytes depend only on the
// content: not on the machine, its architecture, the version of Go or the sizes of
// the writes. The header has no name and no time. Close does not close w.
func NewGzipWriter(w io.Writer) (io.WriteCloser, error) {
	z, err := gzip.NewWriterLevel(w, level)
	if err != nil {
		return nil, err
	}
	z.OS = 255                  // unknown
	z.ModTime = time.Unix(0, 0) // none; the zero Time would be a date
	return newWindowed(z), nil
}

// NewZlibWriter is [NewGzipWriter] for zlib.
func NewZlibWriter(w io.Writer) (io.WriteCloser, error) {
	z, err := zlib.NewWriterLevel(w, level)
	if err != nil {
		return nil, err
	}
	return newWindowed(z), nil
}

// newFlateWriter is [NewGzipWriter] for the raw deflate of zip files.
func newFlateWriter(w io.Writer) (io.WriteCloser, error) {
	z, err := flate.NewWriter(w, level)
	if err != nil {
		return nil, err
	}
	return newWindowed(z), nil
}

// compressor is a gzip.Writer, a zlib.Writer or a flate.Writer.
type compressor interface {
	io.WriteCloser
	Flush() error
}

// windowed passes whole windows to a compressor and flushes after each, so that the
// compressor's state and the caller's writes don't reach into the next window.
type windowed struct {
	z   compressor
	buf []byte
}

func newWindowed(z compressor) *windowed {
	return &windowed{z: z, buf: make([]byte, 0, window)}
}

func (w *windowed) Write(p []byte) (int, error) {
	n := 0
	for len(p) > 0 {
		c := min(window-len(w.buf), len(p))
		w.buf = append(w.buf, p[:c]...)
		p = p[c:]
		n += c
		if len(w.buf) == window {
			if err := w.flush(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (w *windowed) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	if _, err := w.z.Write(w.buf); err != nil {
		return err
	}
	w.buf = w.buf[:0]
	return w.z.Flush()
}

func (w *windowed) Close() error {
	if err := w.flush(); err != nil {
		return err
	}
	return w.z.Close()
}
