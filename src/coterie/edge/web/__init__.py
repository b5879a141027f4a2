"""A static page that runs `classify` specialists in a browser.

The page's own files are here: `coterie.js` (tokenizer, head, calibration, abstention), `page.js`, `page.css` and
`index.html`. The versions are included as they are stored, packed with gzip. The browser unpacks them itself, so any
server of static files is sufficient. Encodings are made by onnxruntime-web, which is no part of Coterie: it is taken
from npm, a folder or an archive when a page is made. `index.html` holds the checksum of every other file.
"""
