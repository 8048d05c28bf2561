"""The words of the CRF's report; crf_report.py fills in the figures."""

TEMPLATE = """\
# The fully connected CRF: time and memory

{written}

A call takes a photo and the probabilities of each label at each pixel, sets the CRF up, and takes ten mean-field
steps. Kernels: bilateral w1 = 4, sxy = 49, srgb = 5; spatial w2 = 3, sxy = 3. pydensecrf2 is called as its users do
(`unary_from_softmax`, `setUnaryEnergy`, `addPairwiseGaussian`, `addPairwiseBilateral`, `inference`) with the same
parameters and the same normalisation, after filtering.

{settings}

## Time

{table}

- *Times as fast*: both libraries take turns in one process, round after round, and the median of the rounds' ratios
  is given, beside the medians of the times. *Without its unary*: the same if pydensecrf2 is spared turning
  probabilities into its unary term, which its users do with NumPy.
- *Vertices / pixel*: the size of the bilateral kernel's lattice, which is what makes a photo quick or slow; near 0
  for flat surfaces, and the more the more texture.
- *Labels*: how many there are, how many are the likeliest one of some pixel according to the network, and how many
  are left after the last step.
- *Same labels*: the share of pixels to which both give the same label. They are not the same computation to the
  last bit: pydensecrf2's `unary_from_softmax` lifts probabilities to 1e-5, and it puts the spatial kernel on a
  lattice, where atrous convolves with it, to 1.2e-4 of the sum of weights along each axis.

## Memory

{memory}

The most that a process held during a call (`VmHWM`), beyond what it held just before, with libraries and inputs
loaded; a fresh process for each. The result is part of it. pydensecrf2's unary term is let go as soon as it is copied.

{crf_memory}

## How time grows

{crf_pixels}

{crf_labels}

{crf_threads}

{scaling}

pydensecrf2 is left out beyond 2 megapixels, where a call takes from half a minute to minutes.

## What it is measured on

The photos are the [examples](../examples/CREDITS.md); the probabilities are what the bundled 21-class network says
of them.

Sizes are height x width.

- *plain*: `cat.jpg`, *textured*: `astronaut.jpg`, scaled to cover 375x500 and cropped; *busy*: the three photos, one
  of them twice, at half that size.
- *mosaic*: the three photos side by side at their own scale, mirrored at their borders to tiles of 512x512, in all
  1024x2048. So the texture is that of photos, not of an enlargement; but it holds more classes than a photo does.
  *One photo mirrored*: `cat.jpg` alone at its own scale, mirrored again and again to the same size. Smaller ones are
  cut from the middle, larger ones are mirrored further, together with what the network says.
- 2 labels: the class of most pixels against the rest. 4 and 8: the classes of the largest mass, and the rest. 19: two
  classes of the least mass are dropped. 50 and 150: classes are divided into parts, whose shares are a softmax of
  smooth random fields; four fifths of the new labels go to classes that are the likeliest somewhere, so that some
  ninety of 150 reach 0.05 at some pixel.

## Run it again

```sh
pip install pydensecrf2 matplotlib
python benchmarks/crf.py --only table        # or memory, or scaling; --case NAME for one, --list for the names
python benchmarks/crf.py                     # all
python benchmarks/crf.py --report docs/benchmarks.md
```

Without pydensecrf2 the table shows atrous alone.

"""

# Text below this line of the page is written by hand.
END = "<!-- end of the report of benchmarks/crf.py -->"

WRITTEN = """\
Written by `benchmarks/crf.py` from its measurements: {machine}; {dates}. While a case was measured, other processes and
guests of the host kept {others:.2f} processors busy at most.
"""

SETTINGS = """\
atrous runs on {threads}, if not said otherwise; pydensecrf2 has one. A label whose probability stays under {prune:g}
all over the photo, and that is the likeliest nowhere, is left out of the steps to come (`prune={prune:g}`, the default
of `DenseCRF`); *every label kept* is `prune=0`.
"""
