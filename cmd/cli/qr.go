package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"rsc.io/qr"
)

// How many lines of a sheet go into one QR code: what a phone still reads well
// from paper, and what a terminal of 80 columns has room for.
const (
	qrLinesPrinted = 24
	qrLinesShown   = 8

	qrScale  = 8 // pixels a module, in a PNG
	qrMargin = 4 // modules (ISO/IEC 18004, 9.1)
)

// qrTexts packs the lines of a sheet into texts of QR codes. They are still
// lines as `key import` reads them, in the characters that QR codes hold best.
func qrTexts(lines []string, each int) (texts []string) {
	for from := 0; from < len(lines); from += each {
		part := make([]string, 0, each)
		for _, line := range lines[from:min(from+each, len(lines))] {
			part = append(part, strings.ReplaceAll(line, " ", ""))
		}
		texts = append(texts, strings.Join(part, " "))
	}
	return texts
}

// qrPicture draws a code in the format that the file's name tells.
func qrPicture(path string) (func(code *qr.Code, title string) []byte, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".png":
		return func(code *qr.Code, _ string) []byte {
			code.Scale = qrScale
			return code.PNG()
		}, nil
	case ".svg":
		return qrSVG, nil
	}
	return nil, hint(fmt.Errorf("--qr %s: pictures are PNG or SVG", shown(path)), "let the file's name end in .png or .svg")
}

// qrSVG draws a code with its title, 1 mm a module.
func qrSVG(code *qr.Code, title string) []byte {
	var b strings.Builder
	width := code.Size + 2*qrMargin
	height := width + qrMargin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%dmm" height="%dmm" viewBox="0 0 %d %d">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="%d" y="%d" font-family="monospace" font-size="3">%s</text>`+"\n", qrMargin, width+1, title)
	b.WriteString(`<path shape-rendering="crispEdges" d="`)
	for y := range code.Size {
		for x := 0; x < code.Size; x++ {
			from := x
			for code.Black(x, y) {
				x++
			}
			if x > from {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", from+qrMargin, y+qrMargin, x-from, x-from)
			}
		}
	}
	b.WriteString("\"/>\n</svg>\n")
	return []byte(b.String())
}

// qrFiles writes the codes to new files: path, or path-1, path-2 and so on when
// there are several. On failure none is left.
func qrFiles(path, title string, texts []string) (written []string, err error) {
	draw, err := qrPicture(path)
	if err != nil {
		return nil, err
	}
	for i, text := range texts {
		name, of := path, ""
		if len(texts) > 1 {
			ext := filepath.Ext(path)
			name = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(path, ext), i+1, ext)
			of = fmt.Sprintf(" %d/%d", i+1, len(texts))
		}
		code, err := qr.Encode(text, qr.M)
		if err == nil {
			err = writeNew(name, draw(code, title+of))
		}
		if err != nil {
			for _, w := range written {
				err = errors.Join(err, os.Remove(w))
			}
			return nil, fmt.Errorf("write the QR code: %w", err)
		}
		written = append(written, name)
	}
	return written, nil
}

// writeNew writes a file of its owner's that wasn't there before.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
