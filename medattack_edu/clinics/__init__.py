"""Where images come from: phantoms drawn by the package, MedMNIST, or a folder of your own."""
