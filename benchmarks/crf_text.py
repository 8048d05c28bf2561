"""Text of the CRF's report; crf_report.py fills in the figures."""

TEMPLATE = """\
# Benchmarks: time, memory, accuracy

At the end of this page you will know how long the fully connected CRF takes on your image and how much memory it needs,
beside pydensecrf2, and how accurate its approximations and the exported networks are. [Speed on CPUs](speed.md) has the
figures of the network, of whole pipelines and of training.

{written}

A call takes an image and the probabilities of all labels at each pixel, builds the CRF and runs ten mean-field steps.
Kernels: bilateral w1 = 4, sxy = 49, srgb = 5; spatial w2 = 3, sxy = 3. pydensecrf2 is called like in its examples
(`unary_from_softmax`, `setUnaryEnergy`, `addPairwiseGaussian`, `addPairwiseBilateral`, `inference`) with the same
parameters and the same normalization, after filtering.

{settings}

## Time

{table}

- *Speedup*: both libraries alternate in one process, round by round; the column is the median of the rounds' ratios,
  and the times are medians. *Without unary*: the speedup without the time that pydensecrf2's users spend on turning
  probabilities into its unary term with NumPy.
- *Vertices / pixel*: the size of the bilateral kernel's lattice, which determines the time of an image: near 0 for flat
  surfaces, larger for more texture.
- *Labels*: number of labels, number of labels that are the most probable one at some pixel according to the network,
  and number of labels that are active after the last step.
- *Same labels*: share of the pixels to which both libraries give the same label. Their computations differ in details:
  pydensecrf2's `unary_from_softmax` clips probabilities at 1e-5, and pydensecrf2 filters the spatial kernel on a
  lattice, while atrous convolves it to within 1.2e-4 of the sum of weights along each axis.

## Memory

{memory}

Peak memory of the process during a call (`VmHWM`) beyond its memory just before the call, with libraries and inputs
loaded, in a new process for each case. The result is included. pydensecrf2's unary term is freed as soon as it is
copied.

{crf_memory}

## Scaling

{crf_pixels}

{crf_labels}

{crf_threads}

{scaling}

pydensecrf2 is not measured beyond 2 megapixels, where a call takes from half a minute to minutes.

## Test images

The images are the [examples](../examples/CREDITS.md), and the probabilities are those of the bundled network with 21
classes. Sizes are height x width.

- *plain*: `cat.jpg`, *textured*: `astronaut.jpg`, resized to cover 375x500 and cropped; *busy*: the three images, one
  of them twice, at half that size.
- *mosaic*: the three images side by side at their own scale, mirrored at their borders to tiles of 512x512, 1024x2048
  in all. Its texture is that of real images, not of an enlargement, but it contains more classes than an image usually
  does. *One image mirrored*: `cat.jpg` alone at its own scale, mirrored repeatedly to the same size. Smaller sizes are
  cut from the middle; larger ones are mirrored further, together with the network's probabilities.
- 2 labels: the most frequent class against the rest. 4 and 8: the classes with the largest sum of probabilities, and
  the rest. 19: the two classes with the smallest sum are dropped. 50 and 150: classes are divided into several labels,
  whose shares are a softmax of smooth random fields. Four fifths of the new labels come from classes that are the most
  probable somewhere.

## Run it again

```sh
pip install pydensecrf2 matplotlib
python benchmarks/crf.py --only table        # or memory, or scaling; --case NAME for one, --list for the names
python benchmarks/crf.py                     # all
python benchmarks/crf.py --report docs/benchmarks.md
```

Without pydensecrf2 the table has only the columns of atrous.

"""

# Text below this line of the page is written by hand.
END = "<!-- end of the report of benchmarks/crf.py -->"

WRITTEN = """\
Written by `benchmarks/crf.py` from its measurements: {machine}; {dates}. During a measurement, other processes and
guests of the host used at most {others:.2f} processors.
"""

SETTINGS = """\
atrous runs on {threads} unless stated otherwise; pydensecrf2 has one thread. A label is pruned if
its probability stays below {prune:g} times that of the most probable label at every pixel (`prune={prune:g}`, the
default of `DenseCRF`, which also prunes [in tiles](dense-crf.md#inference-in-detail)); *no pruning* means `prune=0`.
*Drop-in* is `atrous.pydensecrf`, which prunes nothing.
"""
