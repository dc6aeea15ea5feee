"""What a user would take instead: DCGAN loops from the published recipes, each in its framework's usual idiom.

They use nothing of the package. Their layers are those of `DCGAN4Generator` and `DCGAN4Discriminator`, in float32, and
the update order is the package's: D's first, then G's by the updated D, with batches of real and of generated images
apart, since D has batch normalisation. The recipes differ in what they do for G's update, and the peers as they do:

| peer | recipe | for G's update |
| --- | --- | --- |
| `keras_tape` | tensorflow.org/tutorials/generative/dcgan | the images that D has learned from |
| `keras_fit` | keras.io/examples/generative/dcgan_overriding_train_step | new latent vectors, a second pass of G |
| `pytorch` | pytorch.org/tutorials/beginner/dcgan_faces_tutorial | the images that D has learned from |

Where a recipe leaves speed on the table that its users know to pick up, the peer picks it up: full batches alone,
prefetching, no reading back of losses between steps, no gradients of D's weights in G's update.
"""
